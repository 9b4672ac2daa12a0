"""The child processes of a process, for tests that count or kill them."""

import psutil

servers: set[int] = set()  # never counted, nor what they started: many tests may share one


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """All, zombies too, parents first."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    ours = [child for child in children if child.pid not in servers]
    return [process for child in ours for process in (child, *descendants(child.pid))]


def children(word: str = "", pid: int | None = None) -> list[psutil.Process]:
    """Those alive, of this process or of `pid`, that have `word` as a part of their command.

    Without the children of these: MLX compiles in one, which is a copy of its parent for a moment.
    """
    found: dict[int, psutil.Process] = {}
    for child in descendants(pid):
        try:
            if word in " ".join(child.cmdline()) and (not word or child.ppid() not in found):
                found[child.pid] = child
        except psutil.NoSuchProcess:  # ended meanwhile, or a zombie
            continue
    return list(found.values())
