"""`mlx-edge launch`: starts a coding agent that works with a model of this server."""

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from scripts.agents.agent import LEAST_CONTEXT, Agent, Profile, Target, filled
from scripts.agents.aider import AIDER
from scripts.agents.child import in_our_place
from scripts.agents.claude import CLAUDE
from scripts.agents.codex import CODEX
from scripts.agents.opencode import OPENCODE
from scripts.agents.private_folder import private_folder
from scripts.agents.proxies import past_proxies
from scripts.agents.script import script
from scripts.remote import bring, default_of, on_server, request

AGENTS = {agent.name: agent for agent in (CODEX, CLAUDE, OPENCODE, AIDER)}


class NotInstalled(click.ClickException):
    """The agent is not there: exit status 127, as of a shell that finds no command."""

    exit_code = 127

    def __init__(self, agent: Agent) -> None:
        installs = "\n".join(f"  {command}" for command in agent.installs)
        super().__init__(
            f"{agent.title} is not installed: no '{agent.name}' on the PATH. One of these "
            f"installs it:\n{installs}"
        )


class _WithArguments(click.Command):
    """Its own options end where the agent's arguments begin, which are left as they are."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put a -- before the first word behind the agent's name that is no option of ours."""
        takes_value = {
            name: not (option.is_flag or option.count)
            for option in self.get_params(context)
            if isinstance(option, click.Option)
            for name in option.opts
        }
        position, is_named = 0, False
        while position < len(args):
            name, equals, _ = args[position].partition("=")
            if name in takes_value:
                position += 1 + (takes_value[name] and not equals)
            elif not is_named and not name.startswith("-"):
                position, is_named = position + 1, True
            else:
                break
        own, rest = args[:position], args[position:]
        if is_named and rest and rest[0] != "--":
            rest.insert(0, "--")
        return super().parse_args(context, own + rest)


@click.command(cls=_WithArguments)
@click.argument("agent", type=click.Choice(list(AGENTS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--model", metavar="ID", help="The model to work with; the default if none.")
@click.option("--print", "is_print", is_flag=True, help="Show what would be run, for a shell.")
@on_server
@click.pass_obj
def launch(
    home: Path,
    agent: str,
    arguments: tuple[str, ...],
    model: str | None,
    is_print: bool,
    server: str,
    api_key: str,
) -> None:
    """Start a coding agent with a model of this server; ARGUMENTS are the agent's own.

    It has a profile for this session alone: your own files are not touched, and its sessions are
    gone afterwards; aider's history stays in the project.
    """
    chosen = AGENTS[agent]
    executable = shutil.which(chosen.name)
    if executable is None:
        missing = NotInstalled(chosen)
        if not is_print:
            raise missing
        missing.show()
    target = _target(model, server, api_key)
    profile = _profile(chosen, target)
    if target.context < LEAST_CONTEXT:
        click.echo(
            f"Warning: {target.model} reads {target.context:,} tokens, and an agent needs "
            f"{LEAST_CONTEXT:,} at least: most of its first prompt is instructions and tools.",
            err=True,
        )
    folders = home / "launch"
    if executable is None or is_print:
        click.echo(script([chosen.name, *arguments], profile, str(folders.absolute()), api_key))
        return
    bring(target.model, server, api_key, {}, on_stderr=True)
    sys.exit(_run(executable, arguments, profile, folders, api_key))


def _target(model: str | None, server: str, api_key: str) -> Target:
    """The model as the server knows it."""
    path = f"/v1/models/{quote(model or default_of(server, api_key), safe='')}"
    with request("GET", server, path, api_key) as response:
        shown: dict[str, Any] = json.loads(response.read())
    if not shown.get("capabilities", {}).get("chat"):
        raise click.ClickException(f"{shown['id']} does not chat, so no agent can work with it")
    return Target(server.rstrip("/"), shown["id"], shown["context_length"], os.environ)


def _profile(agent: Agent, target: Target) -> Profile:
    profile = agent.profile(target)
    direct = past_proxies(target.environment, target.url)
    return dataclasses.replace(profile, environment=profile.environment | direct)


def _run(
    executable: str, arguments: tuple[str, ...], profile: Profile, folders: Path, key: str
) -> int:
    """The agent's exit status, when it has ended and its folder is gone."""
    kept = {name: value for name, value in os.environ.items() if name not in profile.unset}
    try:
        with (
            in_our_place() as child,
            private_folder(folders, Path(executable).name, profile.files) as folder,
        ):
            path = str(folder.path.absolute())
            own = [filled(argument, path, key) for argument in profile.arguments]
            set_here = {
                name: filled(value, path, key) for name, value in profile.environment.items()
            }
            return child.run([executable, *own, *arguments], kept | set_here, [folder.lock])
    except OSError as error:
        raise click.ClickException(f"{executable} could not be started: {error}") from error
