"""The child processes of a process, for tests that count or kill them."""

import psutil


def children(word: str = "", pid: int | None = None) -> list[psutil.Process]:
    """Those alive, of this process or of `pid`, that have `word` as a part of their command."""
    found = []
    try:
        candidates = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for child in candidates:
        try:
            if word in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:  # ended meanwhile, or a zombie
            continue
    return found
