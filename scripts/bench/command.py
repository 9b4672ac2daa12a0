"""`mlx-edge bench`: how fast this machine is through the server, beside the bare engine and a peer.

The yardstick is mlx-lm's BatchGenerator on the same model, prompts and token counts. With --pin,
engine and yardstick compute on core 0 with one BLAS thread while web process and client share
core 1: they do not compete, as on a Mac, where the GPU computes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click


def _numbers(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(f"expected numbers such as 1,4,16, not {value!r}")
    return numbers


@click.command()
@click.option("--streams", default="1,4,16", show_default=True, callback=_numbers,
              help="How many at once.")  # fmt: skip
@click.option("--vocab", default="8192,32768", show_default=True, callback=_numbers,
              help="Vocabularies of the random models of 20 M parameters.")  # fmt: skip
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Measure this folder of MLX weights instead.")  # fmt: skip
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--full", is_flag=True, help="Every combination, not one thing changed at a time.")
@click.option("--pin", is_flag=True, help="Engine on core 0, all else on core 1 (Linux).")
@click.option("--against", metavar="mlx_lm|URL",
              help="Beside mlx_lm.server, started here, or the server at a base URL.")  # fmt: skip
@click.option("--model", default="", help="The peer's name for the model, with a URL.")
@click.option("--key", default="none", help="The peer's key.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="A PNG.")
@click.option("--embed", type=click.Path(exists=True, file_okay=False, path_type=Path),
              metavar="FOLDER", help="An embedding model's inputs per second instead.")  # fmt: skip
@click.option("--kill", is_flag=True, help="The pause of streams whose engine is killed instead.")
@click.option("--priority", is_flag=True,
              help="A first token beside background rows instead.")  # fmt: skip
@click.option("--ways", is_flag=True,
              help="Ways to draw and to constrain beside plain greedy instead.")  # fmt: skip
@click.option("--responses", is_flag=True,
              help="Responses beside chat, stored, and resumed instead.")  # fmt: skip
@click.option("--kv", is_flag=True,
              help="What a KV cache in 8 and 4 bits saves and costs, with --folder.")  # fmt: skip
@click.option("--memory", is_flag=False, flag_value="all", metavar="[CASE,...]",
              help="What memory and the prefix cache are held to instead.")  # fmt: skip
@click.option("--share", default=1.0, show_default=True, type=click.FloatRange(0.001, 1),
              help="With --memory and --responses: so much of the work.")  # fmt: skip
@click.option("--quality", metavar="pocket", type=click.Choice(["pocket"]),
              help="What the built-in model answers right, instead of how fast.")  # fmt: skip
def bench(
    streams: tuple[int, ...],
    vocab: tuple[int, ...],
    folder: Path | None,
    rounds: int,
    full: bool,
    pin: bool,
    against: str | None,
    model: str,
    key: str,
    json_path: Path | None,
    plot: Path | None,
    embed: Path | None,
    kill: bool,
    priority: bool,
    ways: bool,
    responses: bool,
    kv: bool,
    memory: str | None,
    share: float,
    quality: str | None,
) -> None:
    """Measure speed beside the bare engine, or quality."""
    # Imported here: `mlx-edge serve` needs none of this in its memory.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from scripts.bench.measure import MLX_LM, Options, measure, num_steps
    from scripts.bench.report import show, write_json, write_plot
    from scripts.bench.servers import environment

    if quality:
        # A process of its own: this command is part of `mlx-edge`, which never imports MLX.
        command = [sys.executable, "-m", "scripts.pocket.quality"]
        raise SystemExit(subprocess.run(command, env=environment(pin=False)).returncode)

    if kv:
        if folder is None:
            raise click.UsageError("--kv needs --folder: a random model has no perplexity")
        command = [sys.executable, "-m", "scripts.bench.kv_bits", str(folder), str(rounds)]
        raise SystemExit(subprocess.run(command, env=environment(pin=False)).returncode)
    if memory:
        return _memory(memory, rounds, share, pin, json_path)
    if responses:
        return _responses(folder, rounds, share, pin, json_path)
    if embed:
        return _embed(embed, rounds, pin, json_path)
    if kill or priority or ways:
        return _others(kill, priority, ways, folder, vocab, rounds, pin)
    if against not in (None, MLX_LM) and not model:
        raise click.UsageError("--against URL needs --model, the peer's name for it")
    if plot:
        _check_plot()
    options = Options(streams, vocab, folder, rounds, full, pin, against, model, key)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Starting", total=num_steps(options))
        report = measure(options, lambda step: progress.update(task, advance=1, description=step))
    show(report, Console())
    if json_path:
        write_json(report, json_path)
    if plot:
        write_plot(report, plot)


def _memory(cases: str, rounds: int, share: float, pin: bool, json_path: Path | None) -> None:
    from scripts.bench.memory.command import CASES, run

    names = list(CASES) if cases == "all" else cases.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise click.UsageError(f"--memory knows {', '.join(CASES)}, not {', '.join(unknown)}")
    run(names, rounds, share, pin, json_path)


def _responses(
    folder: Path | None, rounds: int, share: float, pin: bool, json_path: Path | None
) -> None:
    from scripts.bench.responses.command import run

    run(folder, rounds, share, pin, json_path)


def _embed(folder: Path, rounds: int, pin: bool, json_path: Path | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from scripts.bench import embed

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Starting", total=embed.num_steps(rounds))
        report = embed.measure(
            folder, rounds, pin, lambda step: progress.update(task, advance=1, description=step)
        )
    embed.show(report, Console())
    if json_path:
        embed.write_json(report, json_path)


def _others(
    kill: bool,
    priority: bool,
    ways: bool,
    folder: Path | None,
    vocab: tuple[int, ...],
    rounds: int,
    pin: bool,
) -> None:
    from rich.console import Console

    from scripts.bench import interruption
    from scripts.bench import priority as beside
    from scripts.bench import ways as costs
    from scripts.bench.servers import environment

    console, progress = Console(), Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if folder is None:
            folder = work / "model"
            command = [sys.executable, "-m", "scripts.bench.random_model"]
            subprocess.run(
                [*command, str(folder), str(vocab[-1 if ways else 0])],
                check=True, env=environment(pin=False),
            )  # fmt: skip
        if kill:
            pauses = interruption.measure(folder, work, rounds, pin, progress.print)
            interruption.show(pauses, console)
        if priority:
            beside.show(beside.measure(folder, work, rounds, pin, progress.print), console)
        if ways:
            costs.show(costs.measure(folder, work, rounds, pin, progress.print), console)


def _check_plot() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise click.UsageError(
            "--plot needs matplotlib: pip install 'mlx-edge[plot]', or scripts/setup dev"
        ) from None
