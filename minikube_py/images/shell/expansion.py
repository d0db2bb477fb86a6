"""From words to fields: parameters, substitutions, arithmetic, tilde, splitting, globbing, in the order of POSIX §2.6.

The interpreter supplies variables and runs command substitutions; everything else here is pure.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from minikube_py.images.shell import patterns
from minikube_py.images.shell.arrays import Numbers
from minikube_py.images.shell.patterns import Segment
from minikube_py.images.shell.syntax import Arithmetic, Literal, Parameter, Part, Process, Substitution, Word

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["Expander", "ExpansionError", "ReadOnlyError", "braces"]


class ExpansionError(Exception):
    """`${x:?message}`, an unset variable under set -u, …: the shell ends."""


class ReadOnlyError(ExpansionError):
    """A read-only variable was to change."""


def _split(text: str, ifs: str) -> tuple[bool, list[str], bool]:
    """Return (a separator came first, the fields, a separator came last)."""
    if not ifs:
        return False, [text], False
    white = "".join(char for char in ifs if char in " \t\n")
    hard = "".join(char for char in ifs if char not in " \t\n")
    body = text.strip(white) if white else text
    if not body:
        return bool(text), [], False
    leading, trailing = text[0] in white, text[-1] in white
    gap = f"[{re.escape(white)}]*[{re.escape(hard)}][{re.escape(white)}]*" if hard and white else ""
    if hard and not white:
        gap = f"[{re.escape(hard)}]"
    plain = f"[{re.escape(white)}]+" if white else ""
    pieces = re.split("|".join(filter(None, (gap, plain))), body)
    if hard and pieces[-1] == "":
        pieces.pop()  # a delimiter ends a field, it doesn't begin one
        trailing = True
    return leading, pieces, trailing


def _alternatives(text: str) -> list[str] | None:
    """Return what the first brace expression of `text` comes to."""
    at = 0
    while (start := text.find("{", at)) >= 0:
        depth, commas, end = 0, [], -1
        for index in range(start, len(text)):
            char = text[index]
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 1:
                commas.append(index)
            if depth == 0:
                end = index
                break
        if end < 0:
            at = start + 1
            continue
        head, inside, tail = text[:start], text[start + 1 : end], text[end + 1 :]
        if commas:
            edges = [start, *commas, end]
            return [head + text[a + 1 : b] + tail for a, b in itertools.pairwise(edges)]
        if match := re.fullmatch(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?", inside):
            first, last = int(match[1]), int(match[2])
            step = abs(int(match[3] or 1)) or 1
            width = max(map(len, match.groups()[:2])) if re.match(r"-?0\d", match[1]) else 0
            numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
            return [f"{head}{number:0{width}d}{tail}" for number in numbers]
        if match := re.fullmatch(r"([a-zA-Z])\.\.([a-zA-Z])", inside):
            a, b = ord(match[1]), ord(match[2])
            codes = range(a, b + 1) if a <= b else range(a, b - 1, -1)
            return [f"{head}{chr(code)}{tail}" for code in codes]
        at = start + 1
    return None


def braces(word: Word) -> Iterator[Word]:
    """Yield what bash's brace expansion makes of a word; only braces within one unquoted literal count."""
    for index, part in enumerate(word.parts):
        if isinstance(part, Literal) and not part.quoted and (made := _alternatives(part.text)) is not None:
            for text in made:
                yield from braces(Word((*word.parts[:index], Literal(text), *word.parts[index + 1 :])))
            return
    yield word


class Expander:
    """Expands the words of one shell."""

    def __init__(self, shell: "Shell") -> None:
        self.shell = shell

    # What the interpreter asks for

    async def fields(self, words: Sequence[Word]) -> list[str]:
        """Expand a command's words: split, globbed, quotes removed."""
        found: list[str] = []
        for word in words:
            if (plain := word.plain) is not None and not any(char in plain for char in "*?[~{("):
                found.append(plain)
                continue
            for one in braces(word) if self.shell.bash else (word,):
                for field in await self._fields(one):
                    found.extend(self._paths(field))
        return found

    def _paths(self, field: list[Segment]) -> list[str]:
        shell = self.shell
        names = []
        if "f" not in shell.options:
            names = patterns.pathnames(field, shell.view, hidden="dotglob" in shell.shopt)
            if not names and "nullglob" in shell.shopt and patterns.has_magic(field):
                return []
        return names or ["".join(text for text, _ in field)]

    async def text(self, word: Word) -> str:
        """Expand without splitting: assignments, redirection targets, case subjects."""
        return "".join(text for text, _ in await self.segments(word))

    async def segments(self, word: Word) -> list[Segment]:
        """Expand without splitting, with a note of what was quoted: patterns."""
        found: list[Segment] = []
        for index, part in enumerate(word.parts):
            if isinstance(part, Literal):
                text = self._tilde(part.text) if index == 0 and not part.quoted else part.text
                found.append((text, part.quoted))
            elif isinstance(part, Parameter):
                found.extend(await self._parameter(part))
            else:
                found.append((await self._value(part), part.quoted))
        return found

    async def arithmetic(self, word: Word) -> int:
        return Numbers(self.shell).value(await self.text(word))

    # Fields

    async def _fields(self, word: Word) -> list[list[Segment]]:
        fields: list[list[Segment]] = []
        current: list[Segment] | None = None
        for index, part in enumerate(word.parts):
            if isinstance(part, Literal):
                if not part.text and not part.quoted:
                    continue  # what a brace expression left of a word
                text = self._tilde(part.text) if index == 0 and not part.quoted else part.text
                current = [*(current or []), (text, part.quoted)]
                continue
            if (values := await self._list(part)) is not None:
                for number, value in enumerate(values):
                    if number and current is not None:
                        fields.append(current)
                        current = None
                    if part.quoted:
                        current = [*(current or []), (value, True)]
                    else:
                        current = self._pour([(value, False)], current, fields)
                continue
            if (inner := await self._inner(part)) is not None:
                for number, field in enumerate(inner):
                    if number and current is not None:
                        fields.append(current)
                        current = None
                    current = [*(current or []), *field]
                continue
            if part.quoted:
                current = [*(current or []), (await self._value(part), True)]
            elif isinstance(part, Parameter):
                current = self._pour(await self._parameter(part), current, fields)
            else:
                current = self._pour([(await self._value(part), False)], current, fields)
        if current is not None:
            fields.append(current)
        return fields

    async def _inner(self, part: Part) -> list[list[Segment]] | None:
        """Return the fields of `${x+"$@"}`, whose word is a list in quotes; None for what isn't one."""
        if not isinstance(part, Parameter) or part.op not in ("-", ":-", "+", ":+") or part.operand is None:
            return None
        if not any(isinstance(one, Parameter) and one.many and one.quoted for one in part.operand.parts):
            return None
        from minikube_py.images.shell import parameters

        part = parameters.resolved(self.shell, part)
        tried = replace(part, operand=Word((Literal("x", True),)), op=part.op.replace("-", "+"))
        chosen = bool(await parameters.segments(self, tried)) == part.op.endswith("+")
        if chosen and part.operand is not None:
            return await self._fields(part.operand)
        return [] if part.op.endswith("+") and (part.many or not part.quoted) else None

    def _pour(
        self, segments: Sequence[Segment], current: list[Segment] | None, fields: list[list[Segment]]
    ) -> list[Segment] | None:
        """Split the result of an unquoted expansion; what it begins or ends joins its neighbours."""
        ifs = self.shell.variables.get("IFS", " \t\n")
        for text, quoted in segments:
            if quoted:
                current = [*(current or []), (text, True)]
                continue
            leading, pieces, trailing = _split(text, ifs)
            if leading and current is not None:
                fields.append(current)
                current = None
            for number, piece in enumerate(pieces):
                if number and current is not None:
                    fields.append(current)
                    current = None
                if piece or len(pieces) > 1:
                    current = [*(current or []), (piece, False)]
            if trailing and current is not None:
                fields.append(current)
                current = None
        return current

    def _tilde(self, text: str) -> str:
        if text == "~" or text.startswith("~/"):
            return self.shell.variables.get("HOME", "/root") + text[1:]
        return text

    # Values

    async def _value(self, part: Part) -> str:
        match part:
            case Literal(text):
                return text
            case Substitution(text):
                return await self.shell.substitute(text)
            case Arithmetic(expression):
                return str(await self.arithmetic(expression))
            case Process(text, writes):
                return self.shell.piped(text, writes=writes)
            case Parameter():
                return "".join(text for text, _ in await self._parameter(part))

    async def _parameter(self, part: Parameter) -> list[Segment]:
        """Return what a parameter comes to in one piece: a list is joined."""
        from minikube_py.images.shell import parameters

        part = parameters.resolved(self.shell, part)
        if part.many and part.op not in parameters.DEFAULTS:
            separator = self.shell.variables.get("IFS", " ")[:1] if part.join == "*" and part.quoted else " "
            return [(separator.join(await parameters.listed(self, part)), part.quoted)]
        return await parameters.segments(self, part)

    async def _list(self, part: Part) -> list[str] | None:
        """Return the values of a part that may be several words; None for any other."""
        if not isinstance(part, Parameter) or not (part.many or part.indirect):
            return None
        from minikube_py.images.shell import parameters

        part = parameters.resolved(self.shell, part)
        if not part.many or (part.quoted and part.join == "*"):
            return None
        values = await parameters.listed(self, part)
        if part.op in parameters.DEFAULTS:
            absent = not values or (part.op.startswith(":") and not any(values))
            if absent or part.op.endswith("+"):
                return None
        return values
