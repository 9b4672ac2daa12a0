"""pip as a child: `python -m registry.pip download …`, started by `jobs.package`.

It is pip with the user's own settings: index, mirror, proxy, certificates. It ends when stdin does,
or on Linux with its parent, so that no download goes on for nobody. Where it connects to it says on
stdout, for the parent's record: `Reached HOST ADDRESS PORT`, with a dash for what is not known.
"""

import os
import runpy
import threading

from runtime.processes import destinations
from runtime.processes.orphan import end_with_parent


def main() -> None:
    end_with_parent()
    os.umask(0o077)
    destinations.listen(_tell)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _tell(host: str | None, ip: str | None, port: int) -> None:
    host = host or destinations.HERE.name_of(ip or "")
    # A line of its own, past pip's buffer.
    os.write(1, f"\nReached {host or '-'} {ip or '-'} {port}\n".encode())


def _end_with_stdin() -> None:
    """Which tells of the parent's end wherever the kernel does not."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
