"""Where the programs start: from its import on, Ctrl-C ends quietly, also during all other imports.

What comes before is the interpreter's: there a SIGINT ends the process as any other program without a handler.
"""

import os
import signal
from typing import Any

__all__ = ["main"]


def _interrupted(*_: object) -> None:
    os._exit(130)  # nothing is open yet: there is nothing to undo


signal.signal(signal.SIGINT, _interrupted)


def main() -> Any:
    """Run mkpy."""
    from minikube_py.cli.main import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:  # before `run` looks after it
        return 130
