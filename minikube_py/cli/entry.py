"""Where the programs start: Ctrl-C during the imports ends quietly, too."""

import os
import signal
from typing import Any

__all__ = ["main"]


def main() -> Any:
    """Run mkpy."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing is open yet: there is nothing to undo
    from minikube_py.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
