"""bash's arrays: indexed by number, or by any text (`declare -A`). Pure.

Element 0 of an array is also the variable of its name: `$a` is `${a[0]}`. An associative array keeps the order in
which its keys came; bash's own order is that of a hash table, which nobody should rely on.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Protocol

from minikube_py.images.shell.arithmetic import evaluate

__all__ = ["Array", "Key", "Numbers", "Variables", "quoted", "reference"]

Key = int | str

_REFERENCE = re.compile(r"([A-Za-z_]\w*)(?:\[(.*)\])?", re.DOTALL)


def reference(text: str) -> tuple[str, str | None] | None:
    """Cut `name[subscript]`; None for what is no variable's name."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else (match[1], match[2])


def quoted(text: str) -> str:
    """Quote as `${x@Q}` and `declare -p` do, so that a shell reads the same text again."""
    if any(ord(char) < 32 for char in text):
        names = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}
        return "$'" + "".join(names.get(c, f"\\{ord(c):03o}" if ord(c) < 32 else c) for c in text) + "'"
    return "'" + text.replace("'", "'\\''") + "'"


class Array:
    """The elements of one array."""

    def __init__(self, values: Mapping[Key, str] | Sequence[str] = (), *, associative: bool = False) -> None:
        self.associative = associative
        self._values: dict[Key, str] = dict(values if isinstance(values, Mapping) else enumerate(values))

    def copy(self) -> "Array":
        return Array(self._values, associative=self.associative)

    def __len__(self) -> int:
        return len(self._values)

    def indices(self) -> list[Key]:
        return list(self._values) if self.associative else sorted(self._values, key=int)

    def values(self) -> list[str]:
        return [self._values[key] for key in self.indices()]

    def get(self, key: Key) -> str | None:
        return self._values.get(key)

    def set(self, key: Key, value: str) -> None:
        self._values[key] = value

    def remove(self, key: Key) -> None:
        self._values.pop(key, None)

    @property
    def end(self) -> int:
        """The index after the last one: where `a+=(…)` goes on."""
        return max((int(key) for key in self._values), default=-1) + 1

    @property
    def first(self) -> str | None:
        """What `$a` is."""
        return self._values.get("0" if self.associative else 0)

    def slice(self, start: int, length: int | None) -> list[str]:
        """Return `${a[@]:start:length}`: for numbers, from the first index that is not below `start`."""
        if start < 0:
            start += self.end
        chosen = (
            self.values()[start:] if self.associative else [self._values[k] for k in self.indices() if int(k) >= start]
        )
        return chosen if length is None else chosen[:length]

    def shown(self) -> str:
        """Return the literal that `declare -p` prints."""
        escaped = {key: re.sub(r'(["$`\\])', r"\\\1", value) for key, value in self._values.items()}
        inner = " ".join(f'[{key}]="{escaped[key]}"' for key in self.indices())
        return f"({inner}{' ' if self.associative and inner else ''})"


class Variables(Protocol):
    """What arithmetic needs of a shell's state."""

    def fetch(self, text: str) -> str | None: ...

    def assign(self, name: str, value: str) -> None: ...


class Numbers(MutableMapping[str, str]):
    """A shell's variables as arithmetic sees them: `x`, `a[i]`."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> str:
        value = self._variables.fetch(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self._variables.assign(name, value)

    def __delitem__(self, name: str) -> None:
        raise TypeError("arithmetic unsets nothing")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def value(self, text: str) -> int:
        """Return an expression's value; ArithmeticSyntaxError."""
        return evaluate(text, self)
