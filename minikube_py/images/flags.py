"""Command-line flags as Go's `flag` and `pflag` read them, for stand-ins of programs written in Go.

Leaves out short flags that are glued to their value (`-p80`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Flags", "parse_flags"]


@dataclass(frozen=True, slots=True)
class Flags:
    """Parsed flags: the last one wins, as in Go; `rest` are the positional arguments."""

    values: Mapping[str, str]
    rest: tuple[str, ...]

    def get(self, *names: str, default: str = "") -> str:
        return next((self.values[name] for name in names if name in self.values), default)

    def number(self, *names: str, default: int) -> int:
        """Return a flag as an integer; ValueError names the flag, as Go's message does."""
        text = self.get(*names)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise ValueError(f'invalid argument "{text}" for "--{names[0]}" flag: not a number') from None

    def on(self, name: str) -> bool:
        return self.values.get(name, "false").lower() in ("true", "1", "t")


def parse_flags(argv: Sequence[str], *, switches: Sequence[str] = ()) -> Flags:
    """Read `-name=value`, `--name value` and bare switches.

    `switches` take no value from the next argument. A flag at the end or before another flag is a switch, too.
    """
    values: dict[str, str] = {}
    rest: list[str] = []
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            rest.extend(argv[at:])
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            following = argv[at] if at < len(argv) else None
            if name in switches or following is None or (following.startswith("-") and not following[1:].isdigit()):
                value = "true"
            else:
                value = following
                at += 1
        values[name] = value
    return Flags(values, tuple(rest))
