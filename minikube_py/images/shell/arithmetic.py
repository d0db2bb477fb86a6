"""`$((…))`: integer expressions with variables, as POSIX and C have them (XCU §2.6.4), 64 bits wide. Pure.

An array's element, `a[i]`, is a variable of that name to it: `variables` finds it.
"""

import re
from collections.abc import Callable, MutableMapping

__all__ = ["ArithmeticSyntaxError", "evaluate"]


class ArithmeticSyntaxError(Exception):
    """The message is in the words of busybox' ash."""


_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|[0-9]+#[0-9a-zA-Z@_]+|[0-9]+|[A-Za-z_]\w*(?:\[(?:[^][]|\[[^]]*\])*\])?|"
    r"<<=|>>=|\*\*|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:(),])"
)
_BINARY: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<", ">", "<=", ">="),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_ASSIGN = ("=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=")


def _wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _number(text: str) -> int:
    if "#" in text:
        base, _, digits = text.partition("#")
        return int(digits, int(base))
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8) if text.startswith("0") and len(text) > 1 else int(text)


def _apply(op: str, a: int, b: int) -> int:
    if op in ("/", "%"):
        if b == 0:
            raise ArithmeticSyntaxError("divide by zero")
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return _wrap(quotient if op == "/" else a - quotient * b)
    table: dict[str, Callable[[], int]] = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "|": lambda: a | b,
        "^": lambda: a ^ b,
        "&": lambda: a & b,
        "==": lambda: int(a == b),
        "!=": lambda: int(a != b),
        "<": lambda: int(a < b),
        ">": lambda: int(a > b),
        "<=": lambda: int(a <= b),
        ">=": lambda: int(a >= b),
        "<<": lambda: a << (b & 63),
        ">>": lambda: a >> (b & 63),
    }
    return _wrap(table[op]())


class _Evaluation:
    def __init__(self, tokens: list[str], variables: MutableMapping[str, str], depth: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._variables = variables
        self._depth = depth
        self._skipping = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise ArithmeticSyntaxError("arithmetic syntax error")

    def comma(self) -> int:
        value = self._assignment()
        while self.peek() == ",":
            self._next()
            value = self._assignment()
        return value

    def _assignment(self) -> int:
        name, op = self.peek(), (self._tokens[self._at + 1 : self._at + 2] or [""])[0]
        if (name[:1].isalpha() or name[:1] == "_") and op in _ASSIGN:
            self._at += 2
            value = self._assignment()
            if op != "=":
                value = _apply(op[:-1], self._get(name), value) if not self._skipping else 0
            self._set(name, value)
            return value
        return self._ternary()

    def _ternary(self) -> int:
        condition = self._binary(0)
        if self.peek() != "?":
            return condition
        self._next()
        first = self._maybe(not condition, self._assignment)
        self._expect(":")
        second = self._maybe(bool(condition), self._assignment)
        return first if condition else second

    def _maybe(self, skip: bool, part: Callable[[], int]) -> int:
        self._skipping += skip
        try:
            return part()
        finally:
            self._skipping -= skip

    def _binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self._power()
        value = self._binary(level + 1)
        while self.peek() in _BINARY[level]:
            op = self._next()
            if op in ("&&", "||"):
                decided = (op == "||") == bool(value)
                other = self._maybe(decided, lambda: self._binary(level + 1))
                value = int(bool(value) if decided else bool(other))
                continue
            other = self._binary(level + 1)
            value = 0 if self._skipping else _apply(op, value, other)
        return value

    def _power(self) -> int:
        base = self._unary()
        if self.peek() != "**":
            return base
        self._next()
        exponent = self._power()
        if exponent < 0:
            raise ArithmeticSyntaxError("exponent less than 0")
        return _wrap(pow(base, exponent, 2**64))

    def _unary(self) -> int:
        token = self._next()
        match token:
            case "+":
                return self._unary()
            case "-":
                return _wrap(-self._unary())
            case "!":
                return int(not self._unary())
            case "~":
                return ~self._unary()
            case "++" | "--":
                name = self._next()
                if not (name[:1].isalpha() or name[:1] == "_"):
                    self._at -= 1
                    return self._unary()
                value = self._get(name) + (1 if token == "++" else -1)
                self._set(name, value)
                return value
            case "(":
                value = self.comma()
                self._expect(")")
                return value
        if token[:1].isdigit():
            try:
                return _wrap(_number(token))
            except ValueError:
                raise ArithmeticSyntaxError("arithmetic syntax error") from None
        if token[:1].isalpha() or token[:1] == "_":
            value = self._get(token)
            if self.peek() in ("++", "--"):
                self._set(token, value + (1 if self._next() == "++" else -1))
            return value
        raise ArithmeticSyntaxError("arithmetic syntax error")

    def _get(self, name: str) -> int:
        text = self._variables.get(name, "").strip()
        if not text:
            return 0
        if self._depth > 30:
            raise ArithmeticSyntaxError("expression recursion loop detected")
        return evaluate(text, self._variables, _depth=self._depth + 1)

    def _set(self, name: str, value: int) -> None:
        if not self._skipping:
            self._variables[name] = str(_wrap(value))


def evaluate(text: str, variables: MutableMapping[str, str], *, _depth: int = 0) -> int:
    """Return an expression's value; assignments change `variables`.

    Error handling: ArithmeticSyntaxError.
    """
    tokens: list[str] = []
    at = 0
    stripped = text.strip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise ArithmeticSyntaxError("arithmetic syntax error")
        tokens.append(match[1])
        at = match.end()
    if not tokens:
        return 0
    evaluation = _Evaluation(tokens, variables, _depth)
    value = evaluation.comma()
    if evaluation.peek():
        raise ArithmeticSyntaxError("arithmetic syntax error")
    return value
