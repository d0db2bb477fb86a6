"""From words to fields: parameters, substitutions, arithmetic, tilde, splitting, globbing, in the order of POSIX §2.6.

The interpreter supplies variables and runs command substitutions; everything else here is pure.
"""

import itertools
import re
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

from minikube_py.images.shell import patterns
from minikube_py.images.shell.arithmetic import evaluate
from minikube_py.images.shell.patterns import Segment
from minikube_py.images.shell.syntax import Arithmetic, Literal, Parameter, Part, Substitution, Word

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["Expander", "ExpansionError", "braces"]


class ExpansionError(Exception):
    """`${x:?message}`, an unset variable under set -u, …: the shell ends."""


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
        self._shell = shell

    # What the interpreter asks for

    async def fields(self, words: Sequence[Word]) -> list[str]:
        """Expand a command's words: split, globbed, quotes removed."""
        found: list[str] = []
        for word in words:
            if (plain := word.plain) is not None and not any(char in plain for char in "*?[~{"):
                found.append(plain)
                continue
            for one in braces(word) if self._shell.bash else (word,):
                for field in await self._fields(one):
                    names = [] if "f" in self._shell.options else patterns.pathnames(field, self._shell.view)
                    found.extend(names or ["".join(text for text, _ in field)])
        return found

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
            elif isinstance(part, Parameter) and part.name in "@*" and not part.op:
                found.append((" ".join(self._shell.positional), part.quoted))
            elif isinstance(part, Parameter) and part.operand is not None and not part.quoted:
                found.extend(await self._with_operand(part))
            else:
                found.append((await self._value(part) or "", part.quoted))
        return found

    async def arithmetic(self, word: Word) -> int:
        return evaluate(await self.text(word), self._numbers())

    def _numbers(self) -> MutableMapping[str, str]:
        return self._shell.variables

    # Fields

    async def _fields(self, word: Word) -> list[list[Segment]]:
        fields: list[list[Segment]] = []
        current: list[Segment] | None = None
        for index, part in enumerate(word.parts):
            if isinstance(part, Literal):
                text = self._tilde(part.text) if index == 0 and not part.quoted else part.text
                current = [*(current or []), (text, part.quoted)]
                continue
            if isinstance(part, Parameter) and part.name in "@*" and not part.op:
                values = self._shell.positional
                if part.quoted and part.name == "*":
                    ifs = self._shell.variables.get("IFS", " ")
                    current = [*(current or []), ((ifs[:1]).join(values), True)]
                    continue
                for number, value in enumerate(values):
                    if number and current is not None:
                        fields.append(current)
                        current = None
                    if part.quoted:
                        current = [*(current or []), (value, True)]
                    else:
                        current = self._pour([(value, False)], current, fields)
                continue
            if part.quoted:
                current = [*(current or []), (await self._value(part) or "", True)]
                continue
            if isinstance(part, Parameter) and part.operand is not None:
                current = self._pour(await self._with_operand(part), current, fields)
            else:
                current = self._pour([(await self._value(part) or "", False)], current, fields)
        if current is not None:
            fields.append(current)
        return fields

    def _pour(
        self, segments: Sequence[Segment], current: list[Segment] | None, fields: list[list[Segment]]
    ) -> list[Segment] | None:
        """Split the result of an unquoted expansion; what it begins or ends joins its neighbours."""
        ifs = self._shell.variables.get("IFS", " \t\n")
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
            return self._shell.variables.get("HOME", "/root") + text[1:]
        return text

    # Values

    async def _value(self, part: Part) -> str | None:
        match part:
            case Literal(text):
                return text
            case Substitution(text):
                return await self._shell.substitute(text)
            case Arithmetic(expression):
                return str(evaluate(await self.text(expression), self._numbers()))
            case Parameter():
                if part.operand is not None:
                    return "".join(text for text, _ in await self._with_operand(part))
                return self._plain(part)

    def _plain(self, part: Parameter) -> str | None:
        name = part.name
        if part.op == "len":
            if name in "@*":
                return str(len(self._shell.positional))
            return str(len(self._checked(name) or ""))
        value = self._checked(name)
        if part.indirect:
            value = self._checked(value or "")
        match part.op:
            case "^^":
                return (value or "").upper()
            case ",,":
                return (value or "").lower()
            case "^":
                return (value or "")[:1].upper() + (value or "")[1:]
            case ",":
                return (value or "")[:1].lower() + (value or "")[1:]
        return value

    def _checked(self, name: str) -> str | None:
        value = self._shell.parameter(name)
        if value is None and "u" in self._shell.options and name not in "@*":
            raise ExpansionError(f"{name}: parameter not set")
        return value

    async def _with_operand(self, part: Parameter) -> list[Segment]:
        assert part.operand is not None
        op, name = part.op, part.name
        if part.indirect:
            name = self._shell.parameter(name) or ""
        value = " ".join(self._shell.positional) if name in "@*" else self._shell.parameter(name)
        absent = value is None or (op.startswith(":") and not value) or (name in "@*" and not self._shell.positional)
        match op.lstrip(":") if op != ":" else op:
            case "-":
                return await self.segments(part.operand) if absent else [(value or "", part.quoted)]
            case "+":
                return [] if absent else await self.segments(part.operand)
            case "=":
                if absent:
                    value = await self.text(part.operand)
                    self._shell.assign(name, value)
                return [(value or "", part.quoted)]
            case "?":
                if absent:
                    message = await self.text(part.operand)
                    raise ExpansionError(f"{name}: {message or 'parameter not set or null'}")
                return [(value or "", part.quoted)]
        if value is None:
            value = self._checked(name) or ""
        if op == ":":
            return [(await self._substring(value, part), part.quoted)]
        if op in ("^^", ",,", "^", ","):
            return [(self._plain(part) or "", part.quoted)]
        pattern = await self.segments(part.operand)
        match op:
            case "#" | "##":
                result = patterns.strip_prefix(value, pattern, longest=op == "##")
            case "%" | "%%":
                result = patterns.strip_suffix(value, pattern, longest=op == "%%")
            case _:
                result = await self._replaced(value, pattern, part)
        return [(result, part.quoted)]

    async def _substring(self, value: str, part: Parameter) -> str:
        assert part.operand is not None
        start = evaluate(await self.text(part.operand), self._numbers())
        if start < 0:
            start = max(len(value) + start, 0)
        if part.second is None:
            return value[start:]
        length = evaluate(await self.text(part.second), self._numbers())
        return value[start : start + length] if length >= 0 else value[start : len(value) + length]

    async def _replaced(self, value: str, pattern: list[Segment], part: Parameter) -> str:
        with_ = "" if part.second is None else await self.text(part.second)
        source = patterns.regex(tuple(pattern))
        if not source:
            return value
        if part.op == "/#":
            source = f"\\A(?:{source})"
        elif part.op == "/%":
            source = f"(?:{source})\\Z"
        return re.sub(source, lambda _: with_, value, count=0 if part.op == "//" else 1, flags=re.DOTALL)
