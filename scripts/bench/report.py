"""What was measured as a table, as JSON, and as a picture: ratios first."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from scripts.bench.channel import Channel
from scripts.bench.client import Throughput
from scripts.bench.measure import Report, Row


def show(report: Report, console: Console) -> None:
    """The table, and the rest in lines."""
    table = Table(title="tokens per second, all streams together")
    for name in ("streams", "prompt", "sampling", "vocab"):
        table.add_column(name, justify="right")
    table.add_column("of bare", justify="right")
    if report.peer:
        table.add_column("of peer", justify="right")
    columns = ["range", "ours", "bare", *(["peer"] if report.peer else [])]
    for name in [*columns, "first token", "p99", "gap", "p99"]:
        table.add_column(name, justify="right")
    for row in report.rows:
        table.add_row(*_row(row))
    console.print(table)
    for line in lines(report):
        console.print(line, highlight=False)


def _row(row: Row) -> list[str]:
    cell, ours, peer = row.cell, row.ours, row.peer
    return [
        str(cell.num_streams),
        str(cell.prompt_tokens),
        cell.sampling.name,
        str(cell.vocab_size or ""),
        f"[bold]{row.ratio:.3f}[/]",
        *([f"[bold]{row.peer_ratio:.2f}[/]"] if row.peer_ratio else []),
        f"{row.ratio_range[0]:.2f}-{row.ratio_range[1]:.2f}",
        f"{ours.tokens_per_s:.0f}",
        f"{row.yardstick_tokens_per_s:.0f}",
        *([f"{peer.tokens_per_s:.0f}"] if peer else []),
        *_milliseconds(ours),
    ]


def _milliseconds(value: Throughput) -> list[str]:
    seconds = (*value.first_token_s, *value.gap_s)
    return [f"{1e3 * s:.0f} ms" for s in seconds]


def lines(report: Report) -> list[str]:
    """Latency, start and memory in words."""
    cancel, stall, start = report.cancel, report.stall, report.start
    memory = ", ".join(f"{part} {size / 1e6:.0f} MB" for part, size in start.memory_bytes.items())
    return [
        *_channel(report.channel),
        f"Cancel: the row is gone {1e3 * cancel.p50_s:.0f} ms (p99 {1e3 * cancel.p99_s:.0f} ms) "
        f"after the client; a step takes {1e3 * cancel.step_s:.0f} ms.",
        f"Stall: a running stream waits {1e3 * stall.longest_s:.0f} ms at most beside a prompt of "
        f"4,000 tokens (read in {stall.prompt_s:.1f} s); alone {1e3 * stall.gap_s:.0f} ms.",
        f"Start: /health after {start.health_s:.2f} s, {start.web_cpu_s:.2f} s of it the web "
        f"process's own time, at {start.web_bytes / 1e6:.0f} MB; load in {start.load_s:.1f} s.",
        f"Memory: {memory}.",
        f"On {report.machine}; "
        + ", ".join(f"{name} {number}" for name, number in report.versions.items())
        + (f"; pinned; beside {report.peer}." if report.peer and report.pinned else
           "; pinned." if report.pinned else "."),
    ]  # fmt: skip


def _channel(channel: Channel) -> list[str]:
    """The WebSocket's figures beside those of SSE."""
    first, cpu = channel.first_token_s, channel.web_cpu_per_token_s
    low, high = channel.ratio_range
    cancel = channel.cancel_s
    return [
        f"Socket: 16 streams on one reach {channel.ratio:.3f} ({low:.2f}-{high:.2f}) of the bare "
        f"engine, {channel.tokens_per_s:.0f} tokens/s; {channel.frames_per_token:.2f} frames a "
        "token.",
        f"Socket beside SSE: first token {1e3 * first[0]:.0f} ms and {1e3 * first[1]:.0f} ms; "
        f"CPU of the web process per token {1e6 * cpu[0]:.0f} us and {1e6 * cpu[1]:.0f} us "
        f"({channel.cpu_ratio:.2f}).",
        f"Socket: a cancelled row is gone {1e3 * cancel[0]:.0f} ms (p99 {1e3 * cancel[1]:.0f} ms) "
        f"after the frame; 200 idle ones take {channel.idle_bytes / 1e6:.0f} MB and "
        f"{channel.idle_cpu_share:.1%} of a core.",
    ]


def write_json(report: Report, path: Path) -> None:
    """Everything, in SI units."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def write_plot(report: Report, path: Path) -> None:
    """Ratios to the bare BatchGenerator as bars, and aggregate tokens per second beside them."""
    import matplotlib  # slow to import, and only this function needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams = sorted({row.cell.num_streams for row in report.rows})
    kinds = list(dict.fromkeys(_kind(row) for row in report.rows))
    shades = pyplot.colormaps["viridis"]
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 0.8 + 0.62 * len(kinds)), sharey=True, layout="constrained"
    )
    height = 0.8 / len(streams)
    for index, number in enumerate(streams):
        rows = {_kind(row): row for row in report.rows if row.cell.num_streams == number}
        places = [kinds.index(kind) + (index - (len(streams) - 1) / 2) * height for kind in rows]
        color = shades(0.15 + 0.6 * index / max(1, len(streams) - 1))
        label = f"{number} stream{'s' if number > 1 else ''}"
        bars = left.barh(places, [r.ratio for r in rows.values()], height * 0.9, color=color)
        left.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        speeds = [r.ours.tokens_per_s for r in rows.values()]
        bars = right.barh(places, speeds, height * 0.9, color=color, label=label)
        right.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    left.axvline(1, color="0.3", linewidth=1)
    left.set_xlim(0, max(1.2, 1.12 * max(row.ratio for row in report.rows)))
    left.set_xlabel("of the bare BatchGenerator, same work, same run")
    right.set_xlabel("tokens per second, all streams together")
    left.set_yticks(range(len(kinds)), kinds)
    left.invert_yaxis()
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    right.margins(x=0.12)
    figure.suptitle(report.machine, fontsize=10, color="0.35")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _kind(row: Row) -> str:
    cell = row.cell
    vocab = f", {cell.vocab_size // 1024}k vocab" if cell.vocab_size else ""
    return f"{cell.prompt_tokens}-token prompts\n{cell.sampling.name}{vocab}"
