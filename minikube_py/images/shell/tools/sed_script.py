"""A sed script: s, d, p, q, a, i, c, y, =, n, blocks and addresses (number, $, /re/, ranges, !). Pure.

Leaves out: the hold space, branches, reading and writing files; each is refused with a message that says so.
"""

import re
from collections.abc import Callable

from minikube_py.images.shell.process import UsageError
from minikube_py.images.shell.tools.basics import unescape
from minikube_py.images.shell.tools.regexes import compiled

__all__ = ["edit", "parse"]


class Command:
    def __init__(self) -> None:
        self.first: object = None
        self.last: object = None
        self.negated = False
        self.name = ""
        self.text = ""
        self.regex: re.Pattern[str] | None = None
        self.flags = ""
        self.active = False
        self.until = 0
        self.inner: list[Command] = []


class _Parser:
    def __init__(self, text: str, extended: bool) -> None:
        self._text = text
        self._at = 0
        self._extended = extended

    def parse(self, *, inner: bool = False) -> list[Command]:
        found: list[Command] = []
        while True:
            while self._peek() in (" ", "\t", "\n", ";"):
                self._at += 1
            if not self._peek():
                if inner:
                    raise UsageError("unterminated {")
                return found
            if self._peek() == "#":
                self._line()
                continue
            if self._peek() == "}":
                self._at += 1
                return found
            found.append(self._command())

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _line(self) -> str:
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        line = self._text[self._at : end]
        self._at = end
        return line

    def _address(self) -> object:
        char = self._peek()
        if char.isdigit():
            match = re.compile(r"\d+").match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            return int(match[0])
        if char == "$":
            self._at += 1
            return "$"
        if char in ("/", "\\"):
            if char == "\\":
                self._at += 1
            return compiled(self._until(self._peek()), extended=self._extended)
        return None

    def _until(self, delimiter: str) -> str:
        """Read from after the delimiter here to the next one."""
        self._at += 1
        out = ""
        while self._peek() != delimiter:
            if not self._peek():
                raise UsageError(f"unmatched '{delimiter}'")
            if self._peek() == "\\" and self._text[self._at + 1 : self._at + 2] == delimiter:
                out += delimiter if delimiter not in "|+?(){}" else "\\" + delimiter
                self._at += 2
            elif self._peek() == "\\":
                out += self._text[self._at : self._at + 2]
                self._at += 2
            else:
                out += self._peek()
                self._at += 1
        self._at += 1
        return out

    def _command(self) -> Command:
        made = Command()
        made.first = self._address()
        if made.first is not None and self._peek() == ",":
            self._at += 1
            if self._peek() == "+":
                self._at += 1
                made.last = ("+", self._address())
            else:
                made.last = self._address()
        while self._peek() in (" ", "!"):
            made.negated = made.negated or self._peek() == "!"
            self._at += 1
        made.name = self._peek()
        self._at += 1
        match made.name:
            case "s":
                delimiter = self._peek()
                pattern = self._until(delimiter)
                self._at -= 1
                made.text = self._until(delimiter)
                flags = re.compile(r"[gpiI0-9]*").match(self._text, self._at)
                assert flags is not None
                made.flags, self._at = flags[0], flags.end()
                ignore = "i" in made.flags or "I" in made.flags
                made.regex = compiled(pattern, extended=self._extended, ignore_case=ignore)
            case "y":
                delimiter = self._peek()
                source = self._until(delimiter)
                self._at -= 1
                made.text = self._until(delimiter)
                made.flags = source
                if len(unescape(source)[0]) != len(unescape(made.text)[0]):
                    raise UsageError("strings for 'y' command are different lengths")
            case "a" | "i" | "c":
                made.text = re.sub(r"^\s*\\?\n?\s*", "", self._line())
            case "{":
                made.inner = self.parse(inner=True)
            case "d" | "p" | "q" | "=" | "n":
                pass
            case _:
                raise UsageError(f"unsupported command {made.name}")
        return made


def parse(text: str, *, extended: bool) -> list[Command]:
    """Read a script; UsageError if it is none, or uses what is left out."""
    return _Parser(text, extended).parse()


def _replacement(text: str) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        out, at = "", 0
        while at < len(text):
            char = text[at]
            if char == "\\" and at + 1 < len(text):
                following = text[at + 1]
                if following.isdigit():
                    out += (match[int(following)] or "") if int(following) <= (match.re.groups or 0) else ""
                else:
                    out += {"n": "\n", "t": "\t"}.get(following, following)
                at += 2
                continue
            out += match[0] if char == "&" else char
            at += 1
        return out

    return fill


def edit(found: list[str], commands: list[Command], *, silent: bool) -> list[str]:
    """Run a sed script over lines; return what it writes. Pure."""
    out: list[str] = []
    at = 0

    def hits(address: object, number: int, line: str) -> bool:
        if isinstance(address, re.Pattern):
            return address.search(line) is not None
        return number == len(found) if address == "$" else number == address

    def selected(command: Command, number: int, line: str) -> bool:
        if command.first is None:
            return True
        if command.last is None:
            return hits(command.first, number, line)
        if command.active:
            if isinstance(command.last, int | tuple):
                command.active = number < command.until
                return number <= command.until
            command.active = not hits(command.last, number, line)
            return True
        if not hits(command.first, number, line):
            return False
        if isinstance(command.last, int):
            command.until = command.last
            command.active = command.last > number
        elif isinstance(command.last, tuple):
            command.until = number + int(command.last[1] or 0)
            command.active = command.until > number
        else:
            command.active = True
        return True

    class _Stop(Exception):
        pass

    state = {"line": "", "deleted": False}
    after: list[str] = []

    def run(commands: list[Command], number: int) -> bool:
        for command in commands:
            line = str(state["line"])
            if selected(command, number, line) == command.negated:
                continue
            match command.name:
                case "s":
                    assert command.regex is not None
                    which = int(re.sub(r"\D", "", command.flags) or 1)
                    line, changed = _substituted(line, command, which)
                    state["line"] = line
                    if changed and "p" in command.flags:
                        out.append(f"{line}\n")
                case "y":
                    table = dict(zip(unescape(command.flags)[0], unescape(command.text)[0], strict=True))
                    state["line"] = "".join(table.get(char, char) for char in line)
                case "d":
                    state["deleted"] = True
                    return True
                case "p":
                    out.append(f"{line}\n")
                case "=":
                    out.append(f"{number}\n")
                case "i":
                    out.append(f"{unescape(command.text)[0]}\n")
                case "a":
                    after.append(f"{unescape(command.text)[0]}\n")
                case "c":
                    if not command.active or command.last is None:
                        out.append(f"{unescape(command.text)[0]}\n")
                    state["deleted"] = True
                    return True
                case "q":
                    if not silent:
                        out.append(f"{line}\n")
                    raise _Stop
                case "n":
                    return True
                case "{":
                    if run(command.inner, number):
                        return True
        return False

    try:
        while at < len(found):
            state.update(line=found[at], deleted=False)
            at += 1
            run(commands, at)
            if not silent and not state["deleted"]:
                out.append(f"{state['line']}\n")
            out.extend(after)
            after.clear()
    except _Stop:
        out.extend(after)
    return out


def _substituted(line: str, command: Command, which: int) -> tuple[str, bool]:
    assert command.regex is not None
    fill = _replacement(command.text)
    if "g" in command.flags and which == 1:
        made, count = command.regex.subn(fill, line)
        return made, count > 0
    for number, match in enumerate(command.regex.finditer(line), 1):
        if number == which:
            return line[: match.start()] + fill(match) + line[match.end() :], True
    return line, False
