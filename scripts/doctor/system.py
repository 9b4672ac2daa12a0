"""The machine and its software: chip, system, Python, packages."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.memory import darwin

from .finding import Finding

_OLDEST_MACOS = 14  # that MLX is built for
AGAIN = (  # a remedy
    "Install mlx-edge again, in an environment of its own: `./scripts/setup` in a checkout, "
    "`uv tool install mlx-edge` elsewhere."
)


def findings() -> Iterator[Finding]:
    """All of them; each is asked of the system once."""
    yield chip(brand(), platform.machine(), is_translated=_is_translated())
    yield system()
    yield Finding("Python", "ok", f"{platform.python_version()}, in {sys.prefix}")
    yield from packages()


def chip(name: str, architecture: str, *, is_translated: bool) -> Finding:
    """What computes. On a Mac it has to be Apple's own, and Python has to be built for it."""
    if not darwin.is_here() or (architecture == "arm64" and not is_translated):
        return Finding("chip", "ok", name)
    if is_translated:
        return Finding(
            "chip",
            "problem",
            f"{name}, and this Python is built for Intel: MLX does not run in it",
            "Install a Python for arm64 (uv and Homebrew in /opt/homebrew bring one), then "
            "mlx-edge again.",
        )
    return Finding(
        "chip",
        "problem",
        f"{name}: MLX needs Apple silicon",
        "Take a Mac with a chip of Apple's own, or Linux, where models are computed by the CPU.",
    )


def system() -> Finding:
    """macOS by its version, Linux by its distribution."""
    if not darwin.is_here():
        return Finding("system", "ok", f"{_distribution()}, kernel {platform.release()}")
    version = platform.mac_ver()[0]
    if int(version.partition(".")[0] or 0) >= _OLDEST_MACOS:
        return Finding("system", "ok", f"macOS {version}")
    return Finding(
        "system",
        "problem",
        f"macOS {version}, and MLX is built for {_OLDEST_MACOS} and later",
        "Update macOS in System Settings, General, Software Update.",
    )


def packages() -> Iterator[Finding]:
    """Those that say how models are computed."""
    for name in ("mlx-edge", "mlx", "mlx-lm"):
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                name,
                "problem",
                f"not installed, so that no model can be loaded by {sys.executable}",
                AGAIN,
            )


def brand() -> str:
    """The chip's name as its maker writes it: of sysctl(3) on macOS, of proc(5) on Linux."""
    if darwin.is_here():
        return darwin.sysctl_text("machdep.cpu.brand_string") or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _is_translated() -> bool:
    """Whether Rosetta runs this process: Apple, "About the Rosetta translation environment"."""
    return darwin.is_here() and darwin.sysctl("sysctl.proc_translated") == 1


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
