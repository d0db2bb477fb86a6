"""Numbers and signal names, as builtins read them. Pure."""

from minikube_py.images.shell.process import UsageError

__all__ = ["number", "signal_name", "signal_number"]


def number(text: str) -> int:
    """Read a whole number; UsageError in ash's words."""
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"Illegal number: {text}", 2) from None


_SIGNALS = {"0": "EXIT", "1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}


def signal_name(text: str) -> str:
    """Return `TERM` for TERM, SIGTERM, 15."""
    return _SIGNALS.get(text, text.upper().removeprefix("SIG"))


def signal_number(name: str) -> int:
    """Return 15 for TERM."""
    return next((int(number) for number, known in _SIGNALS.items() if known == name), 15)
