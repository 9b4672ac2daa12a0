"""pip as a child: `python -m registry.pip download …`, started by `jobs.package`.

It is pip with the user's own settings: index, mirror, proxy, certificates. It ends when stdin does,
or on Linux with its parent, so that no download goes on for nobody.
"""

import os
import runpy
import threading

from runtime.processes.orphan import end_with_parent


def main() -> None:
    end_with_parent()
    os.umask(0o077)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _end_with_stdin() -> None:
    """Which tells of the parent's end wherever the kernel does not."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
