"""`mlx-edge doctor`: all that can be checked about this machine, its models and its server."""

from pathlib import Path

import click
import msgspec
from click.core import ParameterSource

from registry.store.store import Store
from scripts.api_key import KEY_VARIABLE, KeyUnavailable, key_of_server
from scripts.remote import at_server
from web.settings import DEFAULT_API_KEY

from . import gpu, memory, models, permissions, place, port, report, service, system
from .finding import Finding, has_problem
from .service import Service


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--deep", is_flag=True, help="Verify every model, down to every byte.")
@click.option("--privacy", "is_privacy", is_flag=True,
              help="What the server can reach and did reach, and which of its processes are "
              "sealed, instead.")  # fmt: skip
@at_server
@click.option("--api-key", envvar=KEY_VARIABLE)
@click.pass_obj
def doctor(
    home: Path, as_json: bool, deep: bool, is_privacy: bool, server: str, api_key: str | None
) -> None:
    """What is wrong here, and what to do about it; what this machine can hold.

    The exit status is 1 where there is a problem.
    """
    running = service.ask()
    source = click.get_current_context().get_parameter_source("server")
    if source is ParameterSource.DEFAULT and running.url is not None:
        server = running.url
    if api_key is None:
        try:
            api_key = key_of_server()
        except KeyUnavailable as error:  # which is one more thing that is wrong, not the end
            click.echo(f"The default key is sent: {error.message}", err=True)
            api_key = DEFAULT_API_KEY
    if is_privacy:
        from .privacy import command as privacy  # late: few ask for it

        findings = privacy.show(server, api_key, as_json=as_json)
    else:
        findings = _show(home, server, api_key, running, is_deep=deep, as_json=as_json)
    raise SystemExit(1 if has_problem(findings) else 0)


def _show(
    home: Path, address: str, api_key: str, running: Service, *, is_deep: bool, as_json: bool
) -> list[Finding]:
    asked, store = port.ask(address, api_key), Store(home)
    not_counted = asked.trouble if asked.state in ("other key", "in trouble", "silent") else None
    told = memory.diagnosis(store.entries(), asked.held, not_counted)
    findings = [
        *system.findings(),
        *gpu.findings(),
        *memory.findings(told),
        *place.findings(home),
        *permissions.findings(home),
        *port.findings(asked, address, api_key, is_service=address == running.url),
        service.finding(running),
        *models.findings(store, is_deep=is_deep),
    ]
    if as_json:
        whole = {**msgspec.structs.asdict(told), "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(whole)).decode())
    else:
        for line in (*report.lines(findings), "", *memory.lines(told)):
            click.echo(line)
    return findings
