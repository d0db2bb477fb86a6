"""`test`, `[` and `[[`: conditions over strings, numbers and the container's files. Pure but for the tree.

Source: POSIX XCU test, and bash for `[[ ]]`. Leaves out: -ef across mounts, -N, -O, -G.
"""

import re
from collections.abc import Callable, Sequence

from minikube_py.images.shell.view import View

__all__ = ["NUMERIC", "ConditionError", "binary", "is_unary", "test", "unary"]


class ConditionError(Exception):
    """The words are no condition; exit code 2, the message in the words of ash."""


def _integer(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise ConditionError(f"{text}: bad number") from None


NUMERIC: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}
_STRING: dict[str, Callable[[str, str], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
_FILE = ("-nt", "-ot", "-ef")
_UNARY = re.compile(r"-[abcdefghknprstuvwxzLSO]")


def is_unary(word: str) -> bool:
    return _UNARY.fullmatch(word) is not None


def unary(op: str, text: str, view: View, *, tty: bool, is_set: Callable[[str], bool] = lambda name: False) -> bool:
    """Judge `-f path`, `-z text`, …"""
    match op:
        case "-z":
            return not text
        case "-n":
            return bool(text)
        case "-t":
            return tty
        case "-v":
            return is_set(text)
        case "-L" | "-h":
            found = view.find(text, follow=False)
            return found is not None and found.is_link
    found = view.find(text)
    if found is None:
        return False
    match op:
        case "-f":
            return found.is_file
        case "-d":
            return found.is_dir
        case "-s":
            return found.size > 0 or (found.is_file and bool(view.read(text)))
        case "-x":
            return found.is_dir or bool(found.mode & 0o111)
        case "-c":
            return found.mode & 0o170000 == 0o020000
        case "-b" | "-p" | "-S" | "-u" | "-g" | "-k":
            return False
    return True  # -e, -r, -w, -a, …: root may


def binary(left: str, op: str, right: str, view: View) -> bool:
    """Judge `a = b`, `1 -lt 2`, `a -nt b`."""
    if op in _STRING:
        return _STRING[op](left, right)
    if op in NUMERIC:
        return NUMERIC[op](_integer(left), _integer(right))
    one, two = view.find(left), view.find(right)
    if op == "-ef":
        return one is not None and two is not None and one.identity == two.identity
    if op == "-ot":
        one, two = two, one
    return one is not None and (two is None or one.modified > two.modified)


def _is_binary(word: str) -> bool:
    return word in _STRING or word in NUMERIC or word in _FILE


def test(words: Sequence[str], view: View, *, tty: bool) -> bool:
    """Judge the words of `test`; the number of words decides first, as POSIX says.

    Error handling: ConditionError.
    """
    match list(words):
        case []:
            return False
        case [text]:
            return bool(text)
        case ["!", *more] if len(more) <= 3:
            return not test(more, view, tty=tty)
        case [op, text] if is_unary(op):
            return unary(op, text, view, tty=tty)
        case [left, op, right] if _is_binary(op):
            return binary(left, op, right, view)
    return _Parsed(words, view, tty).whole()


class _Parsed:
    """Longer conditions: `-a`, `-o`, `!`, parentheses, by precedence."""

    def __init__(self, words: Sequence[str], view: View, tty: bool) -> None:
        self._words = list(words)
        self._at = 0
        self._view = view
        self._tty = tty

    def whole(self) -> bool:
        value = self._or()
        if self._at < len(self._words):
            raise ConditionError(f"{self._words[self._at]}: unknown operand")
        return value

    def _peek(self, ahead: int = 0) -> str | None:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else None

    def _or(self) -> bool:
        value = self._and()
        while self._peek() == "-o":
            self._at += 1
            value = self._and() or value
        return value

    def _and(self) -> bool:
        value = self._not()
        while self._peek() == "-a":
            self._at += 1
            value = self._not() and value
        return value

    def _not(self) -> bool:
        if self._peek() == "!":
            self._at += 1
            return not self._not()
        return self._primary()

    def _primary(self) -> bool:
        word, following, third = self._peek(), self._peek(1), self._peek(2)
        if word is None:
            raise ConditionError("argument expected")
        if following is not None and third is not None and _is_binary(following):
            self._at += 3
            return binary(word, following, third, self._view)
        if word == "(":
            self._at += 1
            value = self._or()
            if self._peek() != ")":
                raise ConditionError("closing paren expected")
            self._at += 1
            return value
        if is_unary(word) and following is not None:
            self._at += 2
            return unary(word, following, self._view, tty=self._tty)
        self._at += 1
        return bool(word)
