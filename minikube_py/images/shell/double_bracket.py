"""`[[ … ]]`: precedence of !, && and ||; no splitting of words; patterns on the right of ==.

Source: bash's manual, Conditional Constructs.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minikube_py.images.shell import patterns
from minikube_py.images.shell.arrays import Array, Numbers
from minikube_py.images.shell.conditions import NUMERIC, ConditionError, binary, is_unary, unary
from minikube_py.images.shell.patterns import Segment
from minikube_py.images.shell.process import UsageError
from minikube_py.images.shell.syntax import Word

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["judge"]


async def judge(shell: "Shell", tokens: tuple[Word | str, ...]) -> int:
    """Return the exit code; what is no condition is told on stderr and gives 2."""
    try:
        return int(not await _Condition(shell, tokens).whole())
    except ConditionError as error:
        await shell.complain(str(error))
        return 2


class _Condition:
    """Reads the tokens from left to right and judges them on the way."""

    def __init__(self, shell: "Shell", tokens: tuple[Word | str, ...]) -> None:
        self._shell = shell
        self._tokens = tokens
        self._at = 0

    def _peek(self, ahead: int = 0) -> Word | str | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    async def whole(self) -> bool:
        value = await self._or(True)
        if self._at < len(self._tokens):
            raise ConditionError("syntax error in conditional expression")
        return value

    async def _or(self, live: bool) -> bool:
        value = await self._and(live)
        while self._peek() == "||":
            self._at += 1
            value = await self._and(live and not value) or value
        return value

    async def _and(self, live: bool) -> bool:
        value = await self._not(live)
        while self._peek() == "&&":
            self._at += 1
            value = await self._not(live and value) and value
        return value

    async def _not(self, live: bool) -> bool:
        if self._peek() == "!":
            self._at += 1
            return not await self._not(live)
        if self._peek() == "(":
            self._at += 1
            value = await self._or(live)
            if self._peek() != ")":
                raise ConditionError("syntax error in conditional expression: expected ')'")
            self._at += 1
            return value
        return await self._primary(live)

    async def _primary(self, live: bool) -> bool:
        expand = self._shell.expand
        cases = "nocasematch" not in self._shell.shopt
        words: list[Word | str] = []
        while (token := self._peek()) is not None and token not in ("&&", "||", ")"):
            words.append(token)
            self._at += 1
        if not live:
            return False
        match words:
            case [Word() as word]:
                return bool(await expand.text(word))
            case [Word() as op, Word() as word] if op.plain is not None and is_unary(op.plain):
                is_set = self._shell.fetch
                return unary(
                    op.plain,
                    await expand.text(word),
                    self._shell.view,
                    tty=self._shell.tty,
                    is_set=lambda name: is_set(name) is not None,
                )
            case [Word() as left, op, Word() as right]:
                name = op if isinstance(op, str) else (op.plain or "")
                text = await expand.text(left)
                if name in ("=", "==", "!="):
                    return patterns.matches(await expand.segments(right), text, cases=cases) == (name != "!=")
                if name == "=~":
                    return self._found(await expand.segments(right), text, cases)
                other = await expand.text(right)
                if name in NUMERIC:  # bash: both sides are arithmetic
                    numbers = Numbers(self._shell)
                    text, other = str(numbers.value(text)), str(numbers.value(other))
                return binary(text, name, other, self._shell.view)
        raise ConditionError("syntax error in conditional expression")

    def _found(self, segments: Sequence[Segment], text: str, cases: bool) -> bool:
        """Judge `text =~ expression`; what it and its groups matched is BASH_REMATCH."""
        from minikube_py.images.shell.tools.regexes import compiled

        source = "".join(re.sub(r"([][\\.*^$+?(){}|])", r"\\\1", part) if quoted else part for part, quoted in segments)
        try:
            found = compiled(source, extended=True, ignore_case=not cases).search(text)
        except UsageError as error:
            raise ConditionError(str(error)) from None
        groups = [] if found is None else [found[0], *(group or "" for group in found.groups())]
        self._shell.set_array("BASH_REMATCH", Array(groups))
        return found is not None
