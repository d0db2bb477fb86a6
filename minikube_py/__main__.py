"""`python -m minikube_py`: the same program as `mkpy`."""

import sys

from minikube_py.cli.entry import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        # CPython notes a KeyboardInterrupt that leaves exec() (importing a dataclass or a namedtuple calls that), and
        # a program begun with -m then dies of SIGINT at its end, whatever its exit code; another exec() forgets it.
        exec("")
