"""The child processes of a process, for tests that count or kill them."""

import psutil


def children(word: str = "", pid: int | None = None) -> list[psutil.Process]:
    """Those alive, of this process or of `pid`, that have `word` as a part of their command.

    Without the children of these: MLX compiles in one, which is a copy of its parent for a moment.
    """
    found: dict[int, psutil.Process] = {}
    try:
        candidates = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for child in candidates:
        try:
            if word in " ".join(child.cmdline()) and (not word or child.ppid() not in found):
                found[child.pid] = child
        except psutil.NoSuchProcess:  # ended meanwhile, or a zombie
            continue
    return list(found.values())
