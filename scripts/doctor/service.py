"""The service: whether one is installed, and whether it does its work."""

from pathlib import Path

from scripts.service import platforms
from scripts.service.definition import SERVER

from .finding import Finding


def installed() -> Path | None:
    """The file that has the system start the server; None where there is none."""
    path = platforms.supervisor(platforms.here).file(SERVER)
    return path if path.exists() else None


def finding(file: Path | None, *, answers: bool) -> Finding:
    """`answers`: a server of ours does, at the address that was asked."""
    if file is None:
        return Finding(
            "service",
            "note",
            "not installed: the server runs as long as its terminal does",
            "`mlx-edge service install` starts it at login, and again after a crash.",
        )
    if not answers:
        return Finding(
            "service",
            "problem",
            f"installed ({file}), and no server answers",
            "`mlx-edge service status` and `mlx-edge service logs` say why; `mlx-edge service "
            "restart` tries again.",
        )
    return Finding("service", "ok", f"installed ({file}), and a server answers")
