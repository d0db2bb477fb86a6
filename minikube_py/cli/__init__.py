"""mkpy: the command line.

One verb = one file with a click command named `command`; list it in `VERBS` of `main.py` with its one-line help, so
that `mkpy --help` imports none of them. Results go to stdout, progress and advice to stderr (`console.py`).
"""
