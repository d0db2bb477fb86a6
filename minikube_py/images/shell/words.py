"""The inside of words: quotes, `$name`, `${…}`, `$(…)`, `$((…))`, backticks, here-documents. Pure.

tree-sitter tells where words are; what is in one is read here, because quoting decides meaning byte by byte
(POSIX XCU §2.2, §2.6).
"""

import re
from collections.abc import Iterator

from minikube_py.images.shell.syntax import (
    Arithmetic,
    Literal,
    Parameter,
    Part,
    Process,
    ShellSyntaxError,
    Substitution,
    Word,
)

__all__ = [
    "FILLER",
    "REDIRECTS",
    "Masked",
    "ansi",
    "parse_parameter",
    "parse_text",
    "parse_word",
    "skip",
    "split_words",
    "subscript_end",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SPECIAL = "@*#?-$!0123456789"
_OPERATOR = re.compile(r":[-=?+]|[-=?+]|%%|%|##|#|//|/#|/%|/|\^\^|\^|,,|,|:|@[a-zA-Z]")


def _closing(text: str, at: int, close: str) -> int:
    """Return the index after the bracket that closes what opened before `at`; quotes and nesting are respected."""
    opening = {")": "(", "}": "{"}[close]
    depth = 1
    while at < len(text):
        char = text[at]
        if char in "\\'\"`$":
            at = skip(text, at)
            continue
        if char == "#" and close == ")" and text[at - 1] in " \t\n;(&|":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if char == close:
            depth -= 1
            if not depth:
                return at + 1
        elif char == opening and close == ")":
            depth += 1
        at += 1
    raise ShellSyntaxError(f'syntax error: unexpected end of file (expecting "{close}")')


def skip(text: str, at: int) -> int:
    """Return the index after the character, quotation or expansion that begins at `at`."""
    char = text[at]
    if char == "\\":
        return at + 2
    if char == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise ShellSyntaxError("syntax error: unterminated quoted string")
        return end + 1
    if char == '"':
        at += 1
        while at < len(text):
            if text[at] == '"':
                return at + 1
            at = skip(text, at) if text[at] in "\\`$" else at + 1
        raise ShellSyntaxError("syntax error: unterminated quoted string")
    if char == "`":
        at += 1
        while at < len(text):
            if text[at] == "`":
                return at + 1
            at += 2 if text[at] == "\\" else 1
        raise ShellSyntaxError("syntax error: EOF in backquote substitution")
    if char == "$":
        if text.startswith("$((", at) and (stop := _arithmetic_end(text, at + 3)) is not None:
            return stop
        if text.startswith("$(", at):
            return _closing(text, at + 2, ")")
        if text.startswith("${", at):
            return _closing(text, at + 2, "}")
        if text.startswith("$'", at):
            at += 2
            while at < len(text) and text[at] != "'":
                at += 2 if text[at] == "\\" else 1
            return at + 1
    return at + 1


def _arithmetic_end(text: str, at: int) -> int | None:
    """Return the index after the `))`; None if this is a subshell in a command substitution."""
    try:
        end = _closing(text, at, ")")
    except ShellSyntaxError:
        return None
    return end + 1 if text[end : end + 1] == ")" else None


def parse_word(text: str) -> Word:
    """Read one word as it stands in a script, quotes and all."""
    return Word(tuple(_joined(_parts(text, quoted=False))))


def parse_text(text: str) -> Word:
    """Read text in which only `$`, backticks and backslashes have a meaning: a here-document, arithmetic."""
    return Word(tuple(_joined(_parts(text, quoted=True, heredoc=True))))


def _joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Join neighbouring literals of one kind."""
    last: Literal | None = None
    for part in parts:
        if isinstance(part, Literal):
            if last is not None and last.quoted == part.quoted:
                last = Literal(last.text + part.text, part.quoted)
                continue
            if last is not None:
                yield last
            last = part
            continue
        if last is not None:
            yield last
            last = None
        yield part
    if last is not None:
        yield last


def _parts(text: str, *, quoted: bool, heredoc: bool = False) -> Iterator[Part]:
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            following = text[at + 1 : at + 2]
            if following == "\n":
                pass
            elif quoted and following not in ("$", "`", "\\", *(() if heredoc else ('"',))):
                yield Literal("\\" + following, True)
            else:
                yield Literal(following, True)
            at += 2
        elif char == "'" and not quoted:
            end = skip(text, at)
            yield Literal(text[at + 1 : end - 1], True)
            at = end
        elif char == '"' and not heredoc and not quoted:
            end = skip(text, at)
            inner = list(_parts(text[at + 1 : end - 1], quoted=True))
            yield from inner or [Literal("", True)]
            at = end
        elif char == "`":
            end = skip(text, at)
            body = re.sub(r'\\([$`\\"])' if quoted and not heredoc else r"\\([$`\\])", r"\1", text[at + 1 : end - 1])
            yield Substitution(body, quoted)
            at = end
        elif char == "$":
            end, part = _dollar(text, at, quoted)
            yield part
            at = end
        elif not quoted and text[at : at + 2] in ("<(", ">("):
            end = _closing(text, at + 2, ")")
            yield Process(text[at + 2 : end - 1], char == ">")
            at = end
        else:
            end = at + 1
            while end < len(text) and text[end] not in "\\'\"`$" and (quoted or text[end] not in "<>"):
                end += 1
            yield Literal(text[at:end], quoted)
            at = end


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


def ansi(text: str) -> str:
    """Return what `$'…'` means."""

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        if code[0].isdigit():
            return chr(int(code, 8))
        return _ESCAPES.get(code, code)

    return re.sub(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|.)", replace, text, flags=re.S)


def _dollar(text: str, at: int, quoted: bool) -> tuple[int, Part]:
    following = text[at + 1 : at + 2]
    if text.startswith("$((", at) and (stop := _arithmetic_end(text, at + 3)) is not None:
        return stop, Arithmetic(parse_text(text[at + 3 : stop - 2]), quoted)
    if following == "(":
        end = skip(text, at)
        return end, Substitution(text[at + 2 : end - 1], quoted)
    if following == "{":
        end = skip(text, at)
        return end, _braces(text[at + 2 : end - 1], quoted)
    if following == "'" and not quoted:
        end = skip(text, at)
        return end, Literal(ansi(text[at + 2 : end - 1]), True)
    if following == '"' and not quoted:
        return at + 1, Literal("", False)
    if following and following in _SPECIAL:
        return at + 2, Parameter(following, quoted=quoted)
    if match := _NAME.match(text, at + 1):
        return match.end(), Parameter(match[0], quoted=quoted)
    return at + 1, Literal("$", quoted)


def subscript_end(text: str, at: int) -> int:
    """Return the index after the `]` that closes the bracket at `at`; ShellSyntaxError if nothing does."""
    depth = 0
    while at < len(text):
        depth += (text[at] == "[") - (text[at] == "]")
        if not depth:
            return at + 1
        at = skip(text, at)
    raise ShellSyntaxError("syntax error: bad substitution")


def parse_parameter(inner: str, quoted: bool) -> Parameter:
    """Read what stands in `${…}`."""
    return _braces(inner, quoted)


def _braces(inner: str, quoted: bool) -> Parameter:
    bad = ShellSyntaxError("syntax error: bad substitution")
    length = inner.startswith("#") and len(inner) > 1
    indirect = inner.startswith("!") and len(inner) > 1
    body = inner[1:] if length or indirect else inner
    match = re.match(r"[A-Za-z_][A-Za-z_0-9]*|[0-9]+|[@*#?$!-]", body)
    if match is None:
        raise bad
    name, rest = match[0], body[match.end() :]
    subscript = None
    if rest.startswith("["):
        end = subscript_end(rest, 0)
        subscript, rest = parse_word(rest[1 : end - 1]), rest[end:]
    if length:
        if rest:
            raise bad
        return Parameter(name, "len", quoted=quoted, subscript=subscript)
    if not rest:
        return Parameter(name, quoted=quoted, indirect=indirect, subscript=subscript)
    if indirect and rest in ("@", "*"):
        return Parameter(name, f"names{rest}", quoted=quoted)
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise bad
    op, text = operator[0], rest[operator.end() :]
    second = None
    if op.startswith("/"):
        text, second = _cut(text, "/")
    elif op == ":":
        text, second = _cut(text, ":")
    return Parameter(
        name,
        op,
        _operand(text, quoted and op not in ("%", "%%", "#", "##", "/", "//", "/#", "/%")),
        None if second is None else _operand(second, quoted),
        quoted,
        indirect,
        subscript,
    )


def _operand(text: str, quoted: bool) -> Word:
    """Read what stands after the operator: within double quotes, single quotes have no meaning in it."""
    if not quoted:
        return parse_word(text)
    parts: list[Part] = []
    at = start = 0
    while at < len(text):  # "${x:-"a b"}": double quotes inside open and close again
        if text[at] == '"':
            parts.extend(_parts(text[start:at], quoted=True))
            end = skip(text, at)
            parts.extend(_parts(text[at + 1 : end - 1], quoted=True))
            at = start = end
        else:
            at = skip(text, at) if text[at] in "\\`$" else at + 1
    parts.extend(_parts(text[start:], quoted=True))
    return Word(tuple(_joined(iter(parts))))


def _cut(text: str, char: str) -> tuple[str, str | None]:
    at = 0
    while at < len(text):
        if text[at] == char:
            return text[:at], text[at + 1 :]
        at = skip(text, at)
    return text, None


def split_words(text: str, operators: tuple[str, ...] = ()) -> list[str]:
    """Cut text at blanks outside of quotes; `operators` are words of their own, wherever they stand."""
    found: list[str] = []
    current = ""
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            if current:
                found.append(current)
            current = ""
            at += 1
            continue
        operator = next((one for one in operators if text.startswith(one, at)), None)
        if operator:
            if current:
                found.append(current)
            current = ""
            found.append(operator)
            at += len(operator)
            continue
        end = skip(text, at)
        if text[at : at + 2] != "\\\n":
            current += text[at:end]
        at = end
    if current:
        found.append(current)
    return found


_HIDDEN = re.compile("\ue000(\\d+)\ue001")
_BLANK = " \t\n"
_BEFORE = " \t\n;&|("
"""What may stand before a word of its own."""
REDIRECTS = {"<<<": "\ue004", "<>": "\ue005"}
"""Redirections that tree-sitter-bash knows badly → what stands before their target instead."""
FILLER = "MINIKUBE_PY_FILLER"
"""An assignment put beside a lone one before redirections, where tree-sitter-bash would wait for a command."""
_REDIRECTED = re.compile(r"&?[0-9]?[<>]")
_LONE = re.compile(
    r"(?:^|[;&|({\n]|\b(?:then|do|else|if|while|until)[ \t]|![ \t])[ \t]*[A-Za-z_]\w*\+?=[^\s;&|()]*[ \t]+$"
)
_ARRAY = re.compile(r"(?:^|[\s;&|(])[A-Za-z_]\w*\+?=$")
"""What stands before the parenthesis of `a=(…)`."""


class Masked:
    """A script whose quotations, expansions and here-documents are hidden behind plain words.

    Here-documents are lines, not words, and quoting decides meaning byte by byte: the grammar is spared both.
    """

    def __init__(self, text: str, *, bash: bool = False) -> None:
        self._bash = bash
        self._hidden: list[str] = []
        self.documents: list[Word] = []
        self.text = self._mask(text)

    def reveal(self, text: str) -> str:
        """Return a piece of the masked text as it stands in the script."""
        return _HIDDEN.sub(lambda match: self._hidden[int(match[1])], text)

    def document(self, word: str) -> Word | None:
        """Return the here-document that a redirection's target stands for."""
        match = re.fullmatch("\ue002(\\d+)\ue003", word)
        return None if match is None else self.documents[int(match[1])]

    def _hide(self, text: str) -> str:
        self._hidden.append(text)
        return f"\ue000{len(self._hidden) - 1}\ue001"

    def _mask(self, text: str) -> str:
        out: list[str] = []
        waiting: list[tuple[int, str, bool, bool]] = []
        at = 0
        while at < len(text):
            char = text[at]
            first = at == 0 or text[at - 1] in _BEFORE
            end = at + 1
            if text.startswith("\\\n", at):
                at += 2
                continue
            if char in "\\'\"`$":
                end = skip(text, at)
                out.append(self._hide(text[at:end]))
            elif first and text.startswith("[[", at) and (stop := _condition_end(text, at)) is not None:
                end = stop
                out.append(self._hide(text[at:end]))
            elif char in "[]" and first and text[end : end + 1] in (*_BLANK, *";&|)", ""):
                out.append(self._hide(char))  # `[` is a command as any other
            elif first and text.startswith("((", at):
                end = _arithmetic_end(text, at + 2) or at + 1
                out.append(text[at:end])
            elif _REDIRECTED.match(text, at) and _LONE.search("".join(out[-12:])) is not None:
                end = at
                while text[end] not in "<>":
                    end += 1
                out.append(f"{FILLER}= {text[at:end]}")
                if text.startswith(("<<", "<>"), end) or self._bracketed(text, end) is not None:
                    at = end
                    continue
                out.append(text[end])
                end += 1
            elif mark := next((one for one in REDIRECTS if text.startswith(one, at)), ""):
                end = at + len(mark)
                while text[end : end + 1] in (" ", "\t"):
                    end += 1
                out.append(f"<{REDIRECTS[mark]}")
            elif text.startswith("<<", at) and (match := _HEREDOC.match(text, at)) is not None:
                delimiter = re.sub(r"\\(.)|['\"]", r"\1", match[2])
                waiting.append((len(self.documents), delimiter, bool(match[1]), delimiter != match[2]))
                out.append(f"<\ue002{len(self.documents)}\ue003")
                self.documents.append(Word(()))
                end = match.end()
            elif self._bash and (stop := self._bracketed(text, at)) is not None:
                end = stop
                out.append(self._hide(_without_comments(text[at:end])))
            elif char == "#" and (first or text[at - 1] == ")"):
                end = text.find("\n", at)
                end = len(text) if end < 0 else end  # the comment is left out
            elif char == "\n" and waiting:
                out.append("\n")
                for number, delimiter, tabs, literal in waiting:
                    body, end = _heredoc(text, end, delimiter, tabs)
                    self.documents[number] = Word((Literal(body, True),)) if literal else parse_text(body)
                waiting = []
            else:
                out.append(char)
            at = end
        return "".join(out)

    def _bracketed(self, text: str, at: int) -> int | None:
        """Return the end of what bash reads as a part of a word: `a=(…)`, `<(…)`, `@(a|b)`; None for anything else."""
        if text[at] == "(" and text[at - 1 : at] == "=" and _ARRAY.search(text[max(0, at - 99) : at]):
            return _closing(text, at + 1, ")")
        if text[at + 1 : at + 2] != "(" or text[at] not in "<>@+?*!":
            return None
        if text[at] in "<>" and text[at + 2 : at + 3] == "(":
            return None  # `(( a <((b)) ))`
        if text[at] == "!" and "extglob" not in text and not re.search(r"=\s+\S*$", text[:at]):
            return None  # `if !(…)`
        return _closing(text, at + 2, ")")


def _condition_end(text: str, at: int) -> int | None:
    """Return the end of `[[ … ]]`; None if this is none."""
    at += 2
    if text[at : at + 1] not in tuple(_BLANK):
        return None
    while at < len(text):
        if text.startswith("]]", at) and text[at - 1] in _BLANK and text[at + 2 : at + 3] in (*_BLANK, *";&|)<>", ""):
            return at + 2
        at = skip(text, at)
    return None


def _without_comments(text: str) -> str:
    if "#" not in text:
        return text
    kept, at = "", 0
    while at < len(text):
        if text[at] == "#" and text[at - 1 : at] in tuple(" \t\n("):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        end = skip(text, at)
        kept, at = kept + text[at:end], end
    return kept


_HEREDOC = re.compile(r"<<(-?)[ \t]*((?:\\.|'[^']*'|\"[^\"]*\"|[^\s;&|<>()'\"\\])+)")


def _heredoc(text: str, at: int, delimiter: str, tabs: bool) -> tuple[str, int]:
    """Return the lines up to the delimiter, and where the text goes on."""
    lines: list[str] = []
    while at < len(text):
        end = text.find("\n", at)
        line = text[at:] if end < 0 else text[at:end]
        at = len(text) if end < 0 else end + 1
        if tabs:
            line = line.lstrip("\t")
        if line == delimiter:
            break
        lines.append(f"{line}\n")
    return "".join(lines), at
