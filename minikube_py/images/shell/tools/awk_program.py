"""A small awk: patterns, print, printf, fields, variables, arithmetic, arrays, if/else, a few functions. Pure.

Leaves out: loops, user functions, getline, redirections; `Program` refuses them with a message.
"""

import re
from typing import Any

from minikube_py.images.shell.process import UsageError

__all__ = ["Program"]

_TOKEN = re.compile(
    r'\s*(?:("(?:\\.|[^"\\])*")|(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|'
    r"(\+\+|--|\+=|-=|\*=|/=|%=|==|!=|<=|>=|&&|\|\||!~|[-+*/%^<>=!~?:,;(){}\[\]$\n]))"
)
_UNFIT = ("for", "while", "do", "function", "getline", "delete", "switch")
Value = str | float


def _text(value: Value) -> str:
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) < 1e16 else f"{value:.6g}"
    return value


def _number(value: Value) -> float:
    if isinstance(value, float):
        return value
    match = re.match(r"\s*[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+)", value)
    return float(match[0]) if match else 0.0


def _numeric(value: Value) -> bool:
    return isinstance(value, float) or re.fullmatch(r"\s*[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+)\s*", value) is not None


class _Next(Exception):
    pass


class _Exit(Exception):
    pass


class Program:
    """A program that is fed line by line and returns what it writes."""

    def __init__(self, text: str) -> None:
        self.variables: dict[str, Value] = {"FS": " ", "OFS": " ", "ORS": "\n", "NR": 0.0, "NF": 0.0}
        self.arrays: dict[str, dict[str, Value]] = {}
        self.code: int | None = None
        self._fields: list[str] = []
        self._line = ""
        self._out: list[str] = []
        self._tokens = self._tokenize(text)
        self._at = 0
        self._rules: list[tuple[Any, Any]] = []
        self._parse()

    @property
    def reads(self) -> bool:
        return any(pattern != "BEGIN" for pattern, _ in self._rules)

    def begin(self) -> str:
        return self._run_all("BEGIN")

    def end(self) -> str:
        return self._run_all("END") if self.code is None else ""

    def line(self, text: str) -> str:
        """Process one line of input."""
        self.variables["NR"] = _number(self.variables["NR"]) + 1
        self._set_line(text)
        try:
            for pattern, body in self._rules:
                if pattern in ("BEGIN", "END"):
                    continue
                if pattern is None or self._true(self._evaluate(pattern)):
                    self._execute(body)
        except _Next:
            pass
        except _Exit:
            pass
        return self._flush()

    def _run_all(self, word: str) -> str:
        try:
            for pattern, body in self._rules:
                if pattern == word:
                    self._execute(body)
        except (_Next, _Exit):
            pass
        return self._flush()

    def _flush(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        return text

    def _set_line(self, text: str) -> None:
        self._line = text
        separator = _text(self.variables["FS"])
        if separator == " ":
            self._fields = text.split()
        elif not text:
            self._fields = []
        else:
            self._fields = text.split(separator) if len(separator) == 1 else re.split(separator, text)
        self.variables["NF"] = float(len(self._fields))

    # Reading the program

    def _tokenize(self, text: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            if text[at] in " \t\r":
                at += 1
                continue
            if text[at] == "#":
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
                continue
            before = tokens[-1] if tokens else ("op", "")
            if text[at] == "/" and not (before[0] in ("num", "name", "str") or before[1] in (")", "]")):
                match = re.compile(r"/((?:\\.|\[[^\]]*\]|[^/\\\n])+)/").match(text, at)
                if match is None:
                    raise UsageError("syntax error: unterminated regex", 2)
                tokens.append(("re", match[1].replace("\\/", "/")))
                at = match.end()
                continue
            match = _TOKEN.match(text, at) if text[at] != "\n" else None
            if text[at] == "\n":
                tokens.append(("op", ";"))
                at += 1
                continue
            if match is None:
                raise UsageError(f"syntax error at '{text[at : at + 10]}'", 2)
            string, number, name, op = match.groups()
            if string is not None:
                from minikube_py.images.shell.tools.basics import unescape

                tokens.append(("str", unescape(string[1:-1].replace('\\"', '"'))[0]))
            elif number is not None:
                tokens.append(("num", number))
            elif name is not None:
                if name in _UNFIT:
                    raise UsageError(f"'{name}' is not supported by the built-in awk", 2)
                tokens.append(("name", name))
            else:
                tokens.append(("op", op))
            at = match.end()
        return tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, *ops: str) -> str | None:
        kind, text = self._peek()
        if kind in ("op", "name") and text in ops:
            self._at += 1
            return text
        return None

    def _need(self, op: str) -> None:
        if self._take(op) is None:
            raise UsageError(f"syntax error near '{self._peek()[1]}', expected '{op}'", 2)

    def _parse(self) -> None:
        while self._peek()[0] != "end":
            if self._take(";"):
                continue
            pattern: Any = None
            if self._peek()[1] in ("BEGIN", "END") and self._peek()[0] == "name":
                pattern = self._peek()[1]
                self._at += 1
            elif self._peek() != ("op", "{"):
                pattern = self._expression()
            body: Any = ("print", [])
            if self._peek() == ("op", "{"):
                body = self._block()
            self._rules.append((pattern, body))

    def _block(self) -> Any:
        self._need("{")
        found = []
        while not self._take("}"):
            if self._peek()[0] == "end":
                raise UsageError("syntax error: unexpected end, expected '}'", 2)
            if self._take(";"):
                continue
            found.append(self._statement())
        return ("block", found)

    def _statement(self) -> Any:
        if self._peek() == ("op", "{"):
            return self._block()
        if self._take("print", "printf"):
            word = self._tokens[self._at - 1][1]
            values = []
            if self._peek()[1] not in (";", "}") and self._peek()[0] != "end":
                values = self._list()
            return (word, values)
        if self._take("if"):
            self._need("(")
            condition = self._expression()
            self._need(")")
            then = self._statement()
            mark = self._at
            self._take(";")
            if self._take("else"):
                return ("if", condition, then, self._statement())
            self._at = mark
            return ("if", condition, then, ("block", []))
        if self._take("next"):
            return ("next",)
        if self._take("exit"):
            code = None if self._peek()[1] in (";", "}", "") else self._expression()
            return ("exit", code)
        return ("do", self._expression())

    def _list(self) -> list[Any]:
        found = [self._expression()]
        while self._take(","):
            found.append(self._expression())
        return found

    def _expression(self) -> Any:
        left = self._ternary()
        if left[0] in ("var", "field", "item") and (op := self._take("=", "+=", "-=", "*=", "/=", "%=")):
            return ("set", left, op, self._expression())
        return left

    def _ternary(self) -> Any:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        then = self._expression()
        self._need(":")
        return ("?", condition, then, self._expression())

    _LEVELS: tuple[tuple[str, ...], ...] = (
        ("||",),
        ("&&",),
        ("~", "!~"),
        ("<", "<=", "==", "!=", ">", ">="),
        (" ",),
        ("+", "-"),
        ("*", "/", "%"),
    )

    def _binary(self, level: int) -> Any:
        if level == len(self._LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while True:
            if self._LEVELS[level] == (" ",):
                kind, text = self._peek()
                if (kind in ("str", "num", "name", "re") and text not in ("in",)) or (
                    text in ("$", "(", "!") and kind == "op"
                ):
                    left = ("bin", " ", left, self._binary(level + 1))
                    continue
                return left
            op = self._take(*self._LEVELS[level])
            if op is None:
                return left
            left = ("bin", op, left, self._binary(level + 1))

    def _unary(self) -> Any:
        if op := self._take("!", "-", "+"):
            return ("un", op, self._unary())
        if op := self._take("++", "--"):
            return ("set", self._primary(), "+=" if op == "++" else "-=", ("num", 1.0))
        value = self._primary()
        if value[0] in ("var", "field", "item") and (op := self._take("++", "--")):
            return ("post", value, op)
        return value

    def _primary(self) -> Any:
        kind, text = self._peek()
        self._at += 1
        if kind == "num":
            return ("num", float(text))
        if kind == "str":
            return ("str", text)
        if kind == "re":
            return ("match", re.compile(text))
        if kind == "name":
            if self._take("("):
                values = [] if self._peek() == ("op", ")") else self._list()
                self._need(")")
                return ("call", text, values)
            if self._take("["):
                key = self._expression()
                self._need("]")
                return ("item", text, key)
            return ("call", text, []) if text == "length" else ("var", text)
        if text == "$":
            return ("field", self._primary())
        if text == "(":
            value = self._expression()
            self._need(")")
            return value
        raise UsageError(f"syntax error near '{text or 'end of program'}'", 2)

    # Running it

    def _true(self, value: Value) -> bool:
        return bool(value) if isinstance(value, float) else (_number(value) != 0 if _numeric(value) else bool(value))

    def _execute(self, node: Any) -> None:
        match node:
            case ("block", statements):
                for one in statements:
                    self._execute(one)
            case ("print", values):
                texts = [_text(self._evaluate(value)) for value in values] or [self._line]
                self._out.append(_text(self.variables["OFS"]).join(texts) + _text(self.variables["ORS"]))
            case ("printf", values):
                self._out.append(self._format([self._evaluate(value) for value in values]))
            case ("if", condition, then, otherwise):
                self._execute(then if self._true(self._evaluate(condition)) else otherwise)
            case ("do", expression):
                self._evaluate(expression)
            case ("next",):
                raise _Next
            case ("exit", code):
                self.code = int(_number(self._evaluate(code))) if code is not None else 0
                raise _Exit

    @staticmethod
    def _format(values: list[Value]) -> str:
        from minikube_py.images.shell.tools.basics import _format_once

        texts = [_text(value) for value in values[1:]]
        template = _text(values[0]) if values else ""
        kinds = re.findall(r"%[-+ 0#]*\d*(?:\.\d+)?([a-zA-Z%])", template)
        kinds = [kind for kind in kinds if kind != "%"]
        texts = [
            str(int(_number(text))) if kind in "diouxX" else text for kind, text in zip(kinds, texts, strict=False)
        ] + texts[len(kinds) :]
        return _format_once(template, texts)[0]

    def _get(self, node: Any) -> Value:
        match node:
            case ("var", name):
                return self.variables.get(name, "")
            case ("item", name, key):
                return self.arrays.setdefault(name, {}).setdefault(_text(self._evaluate(key)), "")
            case ("field", index):
                number = int(_number(self._evaluate(index)))
                if number == 0:
                    return self._line
                return self._fields[number - 1] if 0 < number <= len(self._fields) else ""
        return ""

    def _put(self, node: Any, value: Value) -> None:
        match node:
            case ("var", name):
                self.variables[name] = value
            case ("item", name, key):
                self.arrays.setdefault(name, {})[_text(self._evaluate(key))] = value
            case ("field", index):
                number = int(_number(self._evaluate(index)))
                if number == 0:
                    self._set_line(_text(value))
                    return
                self._fields += [""] * (number - len(self._fields))
                self._fields[number - 1] = _text(value)
                self.variables["NF"] = float(len(self._fields))
                self._line = _text(self.variables["OFS"]).join(self._fields)

    def _evaluate(self, node: Any) -> Value:
        match node:
            case ("num" | "str", value):
                constant: Value = value
                return constant
            case ("match", regex):
                return float(regex.search(self._line) is not None)
            case ("var" | "item" | "field", *_):
                return self._get(node)
            case ("set", target, op, expression):
                new = self._evaluate(expression)
                if op != "=":
                    new = self._arithmetic(op[0], _number(self._get(target)), _number(new))
                self._put(target, new)
                return new
            case ("post", target, op):
                before = _number(self._get(target))
                self._put(target, before + (1 if op == "++" else -1))
                return before
            case ("un", op, inner):
                old = self._evaluate(inner)
                return float(not self._true(old)) if op == "!" else _number(old) * (-1 if op == "-" else 1)
            case ("?", condition, then, otherwise):
                return self._evaluate(then if self._true(self._evaluate(condition)) else otherwise)
            case ("bin", op, left, right):
                return self._binary_value(op, left, right)
            case ("call", name, values):
                return self._call(name, values)
        return ""

    @staticmethod
    def _arithmetic(op: str, a: float, b: float) -> float:
        if op in "/%" and b == 0:
            raise UsageError("division by zero", 2)
        return {"+": a + b, "-": a - b, "*": a * b}[op] if op in "+-*" else a / b if op == "/" else a % b

    def _binary_value(self, op: str, left: Any, right: Any) -> Value:
        if op in ("&&", "||"):
            first = self._true(self._evaluate(left))
            decided = first == (op == "||")
            return float(first if decided else self._true(self._evaluate(right)))
        if op in ("~", "!~"):
            regex = right[1] if right[0] == "match" else re.compile(_text(self._evaluate(right)))
            return float((regex.search(_text(self._evaluate(left))) is not None) == (op == "~"))
        a, b = self._evaluate(left), self._evaluate(right)
        if op == " ":
            return _text(a) + _text(b)
        if op in "+-*/%":
            return self._arithmetic(op, _number(a), _number(b))
        x: Any = _number(a) if _numeric(a) and _numeric(b) else _text(a)
        y: Any = _number(b) if _numeric(a) and _numeric(b) else _text(b)
        results: dict[str, bool] = {"<": x < y, "<=": x <= y, "==": x == y, "!=": x != y, ">": x > y, ">=": x >= y}
        return float(results[op])

    def _call(self, name: str, values: list[Any]) -> Value:
        if name in ("gsub", "sub"):
            regex = values[0][1] if values[0][0] == "match" else re.compile(_text(self._evaluate(values[0])))
            target = values[2] if len(values) > 2 else ("field", ("num", 0.0))
            with_ = _text(self._evaluate(values[1])).replace("\\&", "\0")
            made, count = regex.subn(
                lambda m: with_.replace("&", m[0]).replace("\0", "&"),
                _text(self._get(target)),
                count=0 if name == "gsub" else 1,
            )
            if count:
                self._put(target, made)
            return float(count)
        if name == "split":
            text = _text(self._evaluate(values[0]))
            separator = _text(self._evaluate(values[2])) if len(values) > 2 else _text(self.variables["FS"])
            parts = text.split() if separator == " " else text.split(separator) if text else []
            self.arrays[values[1][1]] = {str(i): part for i, part in enumerate(parts, 1)}
            return float(len(parts))
        args = [self._evaluate(value) for value in values]
        match name:
            case "length":
                return float(len(_text(args[0]) if args else self._line))
            case "substr":
                start = max(int(_number(args[1])), 1) - 1
                text = _text(args[0])
                return text[start : start + int(_number(args[2]))] if len(args) > 2 else text[start:]
            case "index":
                return float(_text(args[0]).find(_text(args[1])) + 1)
            case "toupper":
                return _text(args[0]).upper()
            case "tolower":
                return _text(args[0]).lower()
            case "int":
                return float(int(_number(args[0])))
            case "sprintf":
                return self._format(args)
        raise UsageError(f"function '{name}' is not supported by the built-in awk", 2)
