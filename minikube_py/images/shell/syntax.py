"""A shell script as values: what the parser makes and the interpreter walks. Pure.

Stands for the command tree of POSIX (XCU §2.9), with bash's `[[ ]]`, `(( ))`, C-style `for`, arrays and
process substitution.
"""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "AndOr",
    "Arithmetic",
    "ArithmeticCommand",
    "Assignment",
    "CFor",
    "Case",
    "Command",
    "Condition",
    "For",
    "Function",
    "Group",
    "If",
    "Item",
    "Literal",
    "Parameter",
    "Part",
    "Pipeline",
    "Process",
    "Redirect",
    "Script",
    "ShellSyntaxError",
    "Simple",
    "Substitution",
    "While",
    "Word",
]


class ShellSyntaxError(Exception):
    """The text is no script; the message is in the words of busybox' ash, without `sh: `."""


@dataclass(frozen=True, slots=True)
class Literal:
    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$name`, `${name…}`."""

    name: str
    op: str = ""
    """`:-`, `-`, `:=`, `=`, `:?`, `?`, `:+`, `+`, `%`, `%%`, `#`, `##`, `/`, `//`, `:` (substring), `len`, …"""
    operand: "Word | None" = None
    second: "Word | None" = None
    """The replacement of `/`, the length of a substring."""
    quoted: bool = False
    indirect: bool = False
    subscript: "Word | None" = None
    """Of `${a[i]}`."""

    @property
    def many(self) -> bool:
        """Whether this may be several words: `$@`, `${a[@]}`, `${!a[@]}`, `${!prefix@}`."""
        if self.op == "len":
            return False
        return self.join in ("@", "*")

    @property
    def join(self) -> str | None:
        """`*` or `@` of a list."""
        if self.op in ("names@", "names*"):
            return self.op[-1]
        if self.subscript is not None:
            return self.subscript.plain if self.subscript.plain in ("@", "*") else None
        return self.name if self.name in ("@", "*") else None


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(…)` and backticks; the script is parsed when it runs."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`$((…))`."""

    expression: "Word"
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """`<(…)` and `>(…)`."""

    text: str
    writes: bool
    """`>(…)`: the command reads what is written."""
    quoted: bool = True


Part: TypeAlias = Literal | Parameter | Substitution | Arithmetic | Process


@dataclass(frozen=True, slots=True)
class Word:
    parts: tuple[Part, ...]

    @property
    def plain(self) -> str | None:
        """The text of a word that is one unquoted literal."""
        match self.parts:
            case (Literal(text, False),):
                return text
        return None


@dataclass(frozen=True, slots=True)
class Redirect:
    fd: int
    op: str
    """`<`, `>`, `>>`, `>|`, `<>`, `<&`, `>&`, `&>`, `&>>`, `<<` (the target is the text itself), `<<<`."""
    target: Word


@dataclass(frozen=True, slots=True)
class Assignment:
    name: str
    value: Word
    append: bool = False
    subscript: Word | None = None
    elements: tuple[tuple[Word | None, Word], ...] | None = None
    """Of `a=(x [k]=y)`: subscripts, where given, and values."""


@dataclass(frozen=True, slots=True)
class Simple:
    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    arrays: tuple[Assignment, ...] = ()
    """What `declare a=(…)` and its like assign, beside the words."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: "tuple[Command, ...]"
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AndOr:
    left: "Command"
    op: str
    right: "Command"


@dataclass(frozen=True, slots=True)
class Item:
    """One command of a list."""

    command: "Command"
    background: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`{ …; }`, `( … )`, and any compound command with redirections."""

    body: "Script"
    subshell: bool = False
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class If:
    branches: tuple[tuple[Script, Script], ...]
    otherwise: Script | None = None


@dataclass(frozen=True, slots=True)
class For:
    name: str
    words: tuple[Word, ...] | None
    """None: the positional parameters."""
    body: Script


@dataclass(frozen=True, slots=True)
class CFor:
    start: Word
    condition: Word
    step: Word
    body: Script


@dataclass(frozen=True, slots=True)
class While:
    condition: Script
    body: Script
    until: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    word: Word
    branches: tuple[tuple[tuple[Word, ...], Script, str], ...]
    """(patterns, body, how it ends: `;;`, `;&`, `;;&`)."""


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: "Command"


@dataclass(frozen=True, slots=True)
class Condition:
    """`[[ … ]]`: words and, as plain strings, operators."""

    tokens: tuple[Word | str, ...]


@dataclass(frozen=True, slots=True)
class ArithmeticCommand:
    """`(( … ))`."""

    expression: Word


Command: TypeAlias = (
    Simple | Pipeline | AndOr | Group | If | For | CFor | While | Case | Function | Condition | ArithmeticCommand
)
