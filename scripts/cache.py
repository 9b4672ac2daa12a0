"""`mlx-edge cache`: what prefix caches hold, how the last prompts fared, and why; an end to it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from runtime.disk import folder
from runtime.disk.keychain import KeychainFailed
from scripts.remote import Command, NoServer, on_server, request

_NUM_SHOWN = 40  # characters of a text


def on_model(command: Command) -> Command:
    """Add the option --model."""
    option = click.option("--model", help="Of this model alone; it has to be in memory.")
    return option(on_server(command))


@click.group(invoke_without_command=True)
@on_model
@click.option("--json", "as_json", is_flag=True, help="All of it, as GET /v1/cache has it.")
@click.pass_context
def cache(
    context: click.Context, model: str | None, server: str, api_key: str, as_json: bool
) -> None:
    """What models in memory keep of prompts, and how the last ones fared with it."""
    if context.invoked_subcommand is not None:
        return
    with request("GET", server, _path(model), api_key) as response:
        told = json.loads(response.read())
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    if not told["data"]:
        click.echo("No model is in memory, so no prompt is kept.")
    for one in told["data"]:
        click.echo(
            f"{one['id']}: {one['num_bytes'] / 1e6:.1f} of {one['budget_bytes'] / 1e6:.1f} MB, "
            f"{one['num_tokens']} tokens; {one['cached_percent']} % of "
            f"{one['prompt_tokens']} tokens of prompts were reused"
        )
        if one["disk_limit_bytes"]:
            click.echo(
                f"  on disk, of all models: {one['disk_bytes'] / 1e6:.1f} of "
                f"{one['disk_limit_bytes'] / 1e6:.1f} MB, "
                f"{one['bytes_written_today'] / 1e6:.1f} MB written today"
            )
        for lookup in one["lookups"]:
            _show(lookup)


@cache.command()
@on_model
@click.pass_obj
def forget(home: Path, model: str | None, server: str, api_key: str) -> None:
    """Drop what is kept of prompts, in memory and on disk; answers that are under way go on.

    Without --model the key of what is on disk is deleted too: no copy of it can be read any more.
    """
    if is_deleted := model is None and _forget_on_disk(home):
        click.echo("What was on disk is deleted, and the key to it.")
    try:
        with request("DELETE", server, _path(model), api_key) as response:
            ids = json.loads(response.read())["models"]
    except NoServer:
        if is_deleted:  # and without a server nothing is in memory
            return
        raise
    click.echo(f"Prompts of {', '.join(ids)} are dropped." if ids else "Nothing was kept.")


def _forget_on_disk(home: Path) -> bool:
    try:
        return folder.forget(home)
    except (OSError, KeychainFailed) as error:
        raise click.ClickException(f"what is on disk could not be deleted: {error}") from error


def _path(model: str | None) -> str:
    return "/v1/cache" + (f"?{urlencode({'model': model})}" if model else "")


def _show(lookup: dict[str, Any]) -> None:
    """One prompt, and where it parted from what was known."""
    click.echo(
        f"  {lookup['cached_tokens']} of {lookup['prompt_tokens']} tokens "
        f"({lookup['cached_percent']} %): {lookup['reason']}"
    )
    if lookup["first_difference"] is not None:
        _show_difference(f"token {lookup['first_difference']}", lookup)
    spliced = lookup["spliced"]
    if spliced and spliced["answer_tokens"]:
        reason = f": {spliced['reason']}" if spliced["stopped"] else ""
        click.echo(
            f"    {spliced['reused_answer_tokens']} of {spliced['answer_tokens']} tokens of the "
            f"answer before came back as they were drawn{reason}"
        )


def _show_difference(place: str, told: dict[str, Any]) -> None:
    before, known, asked = (told[name] for name in ("text_before", "text_known", "text_asked"))
    click.echo(f"    {place}, behind {_quoted(before[-_NUM_SHOWN:])}:")
    click.echo(f"      there was {_quoted(known[:_NUM_SHOWN])}")
    click.echo(f"      there is  {_quoted(asked[:_NUM_SHOWN])}")


def _quoted(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return repr(text)
