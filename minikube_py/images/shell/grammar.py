"""From a script's text to `syntax` values: tree-sitter-bash finds the commands, `words` reads the words. Pure.

Stands for the parser of busybox' ash (POSIX XCU §2.10), with what bash adds where tree-sitter-bash knows it. Leaves
out: `select`, `coproc`; each is a syntax error that names it. Arrays and process substitution are bash's only.
"""

import re
from functools import lru_cache
from typing import Any

from minikube_py.images.shell.syntax import (
    AndOr,
    ArithmeticCommand,
    Assignment,
    Case,
    CFor,
    Command,
    Condition,
    For,
    Function,
    Group,
    If,
    Item,
    Pipeline,
    Redirect,
    Script,
    ShellSyntaxError,
    Simple,
    While,
    Word,
)
from minikube_py.images.shell.words import FILLER, REDIRECTS, Masked, parse_text, parse_word, split_words, subscript_end

__all__ = ["parse"]

_RESERVED = frozenset(("do", "done", "then", "else", "elif", "fi", "esac", "}", ";;", "in"))
_UNFIT = {"array": "(", "process_substitution": "("}
"""What ash doesn't know (in bash's scripts it is hidden) → the character that it stumbles over."""
_NAME = re.compile(r"[A-Za-z_]\w*")
_REDIRECTS = ("file_redirect", "herestring_redirect", "heredoc_redirect")


@lru_cache(maxsize=1)
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


@lru_cache(maxsize=256)
def parse(text: str, *, bash: bool = False) -> Script:
    """Read a script; of `bash`, with arrays, `<(…)` and extended patterns.

    Error handling: ShellSyntaxError.
    """
    masked = Masked(text, bash=bash)
    root = _parser().parse(masked.text.encode("utf-8", "surrogateescape")).root_node
    return _Reader(masked).script(root)


class _Reader:
    def __init__(self, masked: Masked) -> None:
        self._masked = masked

    def _raw(self, node: Any) -> str:
        return self._masked.reveal(node.text.decode("utf-8", "surrogateescape"))

    def _fail(self, node: Any) -> ShellSyntaxError:
        """Say what is wrong, as ash does."""
        if node.is_missing:
            if node.type in ("fi", "done", "esac", "}", ")", "then", "do"):
                return ShellSyntaxError(f'syntax error: unexpected end of file (expecting "{node.type}")')
            return ShellSyntaxError("syntax error: unexpected end of file")
        if node.type in _UNFIT:
            return ShellSyntaxError(f'syntax error: unexpected "{_UNFIT[node.type]}"')
        first = node
        while first.children:
            first = first.children[0]
        text = self._raw(first) or self._raw(node)
        if node.type == "ERROR":
            expecting = {"if": "fi", "for": "done", "while": "done", "until": "done", "case": "esac", "{": "}"}
            opened = [
                self._raw(child) for child in node.children if self._raw(child) in (*expecting, "(", "do", "then")
            ]
            for word in opened:
                if word in expecting:
                    return ShellSyntaxError(f'syntax error: unexpected end of file (expecting "{expecting[word]}")')
            if "(" in opened:
                return ShellSyntaxError('syntax error: unexpected end of file (expecting ")")')
            if (last := self._raw(node).strip().split("\n")[-1][-2:]) in ("&&", "||"):
                return ShellSyntaxError(f"syntax error: unexpected end of file after {last}")
            text = self._raw(node).split()[0] if self._raw(node).split() else ""
        if not text.strip():
            return ShellSyntaxError("syntax error: unexpected newline")
        return ShellSyntaxError(f'syntax error: unexpected "{text.strip()}"')

    # Lists

    def script(self, node: Any, children: list[Any] | None = None) -> Script:
        items: list[Item] = []
        separated = True
        row = -1
        for child in node.children if children is None else children:
            kind = child.type
            if kind in (";", "\n", "comment"):
                if kind == ";" and separated and items == []:
                    raise ShellSyntaxError('syntax error: unexpected ";"')
                separated = True
                continue
            if kind == "&":
                if not items:
                    raise ShellSyntaxError('syntax error: unexpected "&"')
                items[-1] = Item(items[-1].command, True)
                separated = True
                continue
            if not child.is_named or child.is_missing or kind == "ERROR":
                raise self._fail(child)
            if not separated and child.start_point[0] == row:
                raise self._fail(child)
            items.append(Item(self.command(child)))
            separated, row = False, child.end_point[0]
        return Script(tuple(items))

    # Commands

    def command(self, node: Any) -> Command:
        handler = getattr(self, f"_{node.type}", None)
        if node.is_missing or handler is None:
            raise self._fail(node)
        made: Command = handler(node)
        return made

    def _list(self, node: Any) -> Command:
        left, op, right = self._three(node)
        return AndOr(self.command(left), op.type, self.command(right))

    def _three(self, node: Any) -> tuple[Any, Any, Any]:
        children = [child for child in node.children if child.type not in ("comment", "\n")]
        for child in children:
            if child.type == "ERROR" or child.is_missing:
                raise self._fail(child)
        if len(children) != 3:
            raise self._fail(node)
        return children[0], children[1], children[2]

    def _pipeline(self, node: Any) -> Command:
        commands: list[Command] = []
        for child in node.children:
            if child.type in ("|", "comment", "\n"):
                continue
            if child.type == "|&":
                last = commands.pop()
                both = Redirect(2, ">&", parse_word("1"))
                commands.append(Group(Script((Item(last),)), False, (both,)))
                continue
            commands.append(self.command(child))
        match commands:
            case [Pipeline(inner, True), *more]:
                return Pipeline((*inner, *more), True)
        return Pipeline(tuple(commands))

    def _negated_command(self, node: Any) -> Command:
        inner = self.command(node.children[-1])
        return Pipeline((inner,), True)

    def _compound_statement(self, node: Any) -> Command:
        first, last = node.children[0], node.children[-1]
        if first.type == "((":
            return ArithmeticCommand(parse_text(self._raw(node)[2:-2]))
        if last.is_missing:
            raise self._fail(last)
        return Group(self.script(node, node.children[1:-1]))

    def _subshell(self, node: Any) -> Command:
        if node.children[-1].is_missing:
            raise self._fail(node.children[-1])
        return Group(self.script(node, node.children[1:-1]), True)

    def _if_statement(self, node: Any) -> Command:
        branches: list[tuple[Script, Script]] = []
        otherwise: Script | None = None
        condition: list[Any] = []
        body: list[Any] = []
        at = condition
        for child in node.children:
            match child.type:
                case "if":
                    continue
                case "then":
                    at = body
                case "elif_clause":
                    cut = next(i for i, one in enumerate(child.children) if one.type == "then")
                    branches.append(
                        (self.script(child, child.children[1:cut]), self.script(child, child.children[cut + 1 :]))
                    )
                case "else_clause":
                    otherwise = self.script(child, child.children[1:])
                case "fi":
                    if child.is_missing:
                        raise self._fail(child)
                case _:
                    at.append(child)
        return If(((self.script(node, condition), self.script(node, body)), *branches), otherwise)

    def _body(self, node: Any) -> Script:
        if node.type == "compound_statement":
            return self.script(node, node.children[1:-1])
        if node.children[-1].is_missing or node.children[-1].type != "done":
            raise self._fail(node.children[-1])
        return self.script(node, node.children[1:-1])

    def _while_statement(self, node: Any) -> Command:
        inner = node.children[1:-1]
        return While(self.script(node, inner), self._body(node.children[-1]), node.children[0].type == "until")

    def _for_statement(self, node: Any) -> Command:
        if node.children[0].type == "select":
            raise ShellSyntaxError("syntax error: select not supported by the built-in shell")
        name = self._raw(node.children[1])
        words: tuple[Word, ...] | None = None
        between = node.children[2:-1]
        if any(child.type == "in" for child in between):
            cut = next(i for i, child in enumerate(between) if child.type == "in")
            values = [child for child in between[cut + 1 :] if child.type not in (";", "\n")]
            words = tuple(parse_word(text) for text in self._merged(values))
        for child in between:
            if child.type == "ERROR":
                raise self._fail(child)
        return For(name, words, self._body(node.children[-1]))

    def _c_style_for_statement(self, node: Any) -> Command:
        raw = self._raw(node)
        start = raw.index("((") + 2
        end = raw.index("))", start)
        parts = raw[start:end].split(";")
        if len(parts) != 3:
            raise self._fail(node)
        first, second, third = (parse_text(part) for part in parts)
        return CFor(first, second, third, self._body(node.children[-1]))

    def _case_statement(self, node: Any) -> Command:
        if node.children[-1].is_missing:
            raise self._fail(node.children[-1])
        subject = [child for child in node.children[1:] if child.type not in ("case_item", "esac", "in", "\n", ";")]
        branches = [self._case_item(child) for child in node.children if child.type == "case_item"]
        return Case(parse_word("".join(map(self._raw, subject))), tuple(branches))

    def _case_item(self, node: Any) -> tuple[tuple[Word, ...], Script, str]:
        cut = next((i for i, child in enumerate(node.children) if child.type == ")"), None)
        if cut is None:
            raise self._fail(node)
        base = node.start_byte
        head = node.text[: node.children[cut].start_byte - base].decode("utf-8", "surrogateescape")
        patterns = [text for text in split_words(head.strip().removeprefix("("), ("|",)) if text != "|"]
        body = list(node.children[cut + 1 :])
        ending = body.pop().type if body and body[-1].type in (";;", ";&", ";;&") else ";;"
        return tuple(parse_word(self._masked.reveal(text)) for text in patterns), self.script(node, body), ending

    def _function_definition(self, node: Any) -> Command:
        name = next(child for child in node.children if child.type == "word")
        body = self.command(node.children[-1]) if node.children[-1].type not in _REDIRECTS else None
        if body is None:
            redirects = tuple(self._redirect(c) for c in node.children if c.type in _REDIRECTS)
            inner = next(c for c in node.children if c.type in ("compound_statement", "subshell"))
            body = Group(Script((Item(self.command(inner)),)), False, redirects)
        return Function(self._raw(name), body)

    def _test_command(self, node: Any) -> Command:
        raw = self._raw(node)
        for child in node.children:
            if child.is_missing:
                raise ShellSyntaxError(f"syntax error: missing {child.type}")
        if raw.startswith("(("):
            return ArithmeticCommand(parse_text(raw[2:-2]))
        return Simple((), tuple(parse_word(text) for text in split_words(raw)))

    def _condition(self, raw: str) -> Condition:
        operators = ("&&", "||", "(", ")")
        special = (*operators, "!", "<", ">")
        inner = Masked(raw[2:-2], bash=True)
        texts: list[str] = []
        for text in split_words(inner.text):
            texts.extend([text] if texts[-1:] == ["=~"] else split_words(text, operators))
        return Condition(tuple(text if text in special else parse_word(inner.reveal(text)) for text in texts))

    # Simple commands

    def _command(self, node: Any) -> Command:
        words: list[Any] = []
        assignments: list[Assignment] = []
        redirects: list[Redirect] = []
        for child in node.children:
            if child.is_missing or child.type in _UNFIT:
                raise self._fail(child)
            if child.type == "variable_assignment" and not words:
                if _is_filler(child):
                    continue
                assignments.append(self._assignment(child))
            elif child.type in _REDIRECTS:
                redirects.append(self._redirect(child, words))
            elif child.type == "ERROR":
                raise self._fail(child)
            else:
                words.append(child)
        texts = self._merged(words)
        if texts and texts[0].startswith("[[") and texts[0][2:3] in (" ", "\t", "\n"):
            if len(texts) > 1:
                raise ShellSyntaxError(f'syntax error: unexpected "{texts[1]}"')
            made = self._condition(texts[0])
            return Group(Script((Item(made),)), False, tuple(redirects)) if redirects else made
        if texts and texts[0] in _RESERVED:
            raise ShellSyntaxError(f'syntax error: unexpected "{texts[0]}"')
        if texts and texts[0] == "!" and len(texts) > 1:
            return Pipeline((Simple(tuple(assignments), tuple(map(parse_word, texts[1:])), tuple(redirects)),), True)
        return Simple(tuple(assignments), tuple(map(parse_word, texts)), tuple(redirects))

    def _merged(self, nodes: list[Any]) -> list[str]:
        """Return the words' texts; what touches is one word, whatever the grammar calls its parts."""
        texts: list[str] = []
        end = -1
        for node in nodes:
            if node.type in _UNFIT or _unfit_within(node):
                raise self._fail(node if node.type in _UNFIT else _unfit_within(node))
            if node.type == "ERROR" or node.is_missing:
                raise self._fail(node)
            if node.start_byte == node.end_byte:
                raise ShellSyntaxError("syntax error: unexpected end of file")
            if node.start_byte == end and texts:
                texts[-1] += self._raw(node)
            else:
                texts.append(self._raw(node))
            end = node.end_byte
        return texts

    def _declaration_command(self, node: Any) -> Command:
        return self._raw_simple(node)

    _unset_command = _declaration_command

    def _raw_simple(self, node: Any) -> Command:
        for child in node.children:
            if child.type == "ERROR" or _unfit_within(child):
                raise self._fail(child if child.type == "ERROR" else _unfit_within(child))
        words: list[Word] = []
        arrays: list[Assignment] = []
        for text in map(self._masked.reveal, self._split(node)):
            made = self._assigned(text)
            if made is not None and made.elements is not None:
                arrays.append(made)
                text = made.name
            words.append(parse_word(text))
        return Simple((), tuple(words), (), tuple(arrays))

    def _split(self, node: Any) -> list[str]:
        """Return a node's words, what is hidden still hidden."""
        return split_words(node.text.decode("utf-8", "surrogateescape"))

    def _variable_assignment(self, node: Any) -> Command:
        return Simple((self._assignment(node),), ())

    def _variable_assignments(self, node: Any) -> Command:
        return Simple(tuple(self._assignment(child) for child in node.children if not _is_filler(child)), ())

    def _assignment(self, node: Any) -> Assignment:
        if bad := _unfit_within(node):
            raise self._fail(bad)
        made = self._assigned(self._raw(node))
        if made is None:
            raise self._fail(node)
        return made

    def _assigned(self, raw: str) -> Assignment | None:
        """Read `name=value`, `name[i]+=value`, `name=(…)`; None for anything else."""
        match = _NAME.match(raw)
        if match is None:
            return None
        end = match.end()
        subscript = None
        if raw[end : end + 1] == "[":
            stop = subscript_end(raw, end)
            subscript, end = parse_word(raw[end + 1 : stop - 1]), stop
        append = raw.startswith("+=", end)
        if not append and raw[end : end + 1] != "=":
            return None
        value = raw[end + 1 + append :]
        elements = None
        if value.startswith("(") and value.endswith(")"):
            elements = tuple(map(self._element, split_words(value[1:-1])))
            value = ""
        return Assignment(match[0], parse_word(value), append, subscript, elements)

    def _element(self, text: str) -> tuple[Word | None, Word]:
        if text.startswith("["):
            end = subscript_end(text, 0)
            if text[end : end + 1] == "=":
                return parse_word(text[1 : end - 1]), parse_word(text[end + 1 :])
        return None, parse_word(text)

    # Redirections

    def _redirected_statement(self, node: Any) -> Command:
        inner = [child for child in node.children if child.type not in _REDIRECTS]
        extra: list[Any] = []
        redirects = tuple(self._redirect(child, extra) for child in node.children if child.type in _REDIRECTS)
        if not inner:
            return Simple((), tuple(map(parse_word, self._merged(extra))), redirects)
        if inner[0].type == "ERROR":
            raise self._fail(inner[0])
        command = self.command(inner[0])
        more = tuple(map(parse_word, self._merged(extra)))
        match command:
            case Simple(assignments, words, others, arrays):
                return Simple(assignments, (*words, *more), (*others, *redirects), arrays)
            case Group(body, subshell, others):
                return Group(body, subshell, (*others, *redirects))
            # The grammar hangs a redirection after a whole list or pipeline; it belongs to the last command.
            case AndOr(left, op, right):
                return AndOr(left, op, self._with(right, redirects))
            case Pipeline(commands, negated):
                return Pipeline((*commands[:-1], self._with(commands[-1], redirects)), negated)
        return Group(Script((Item(command),)), False, redirects)

    def _with(self, command: Command, redirects: tuple[Redirect, ...]) -> Command:
        match command:
            case Simple(assignments, words, others, arrays):
                return Simple(assignments, words, (*others, *redirects), arrays)
            case Group(body, subshell, others):
                return Group(body, subshell, (*others, *redirects))
        return Group(Script((Item(command),)), False, redirects)

    def _redirect(self, node: Any, words: list[Any] | None = None) -> Redirect:
        fd: int | None = None
        op = ""
        targets: list[Any] = []
        for child in node.children:
            if child.type == "file_descriptor":
                fd = int(self._raw(child)) if self._raw(child).isdigit() else None
            elif child.type in ("<", ">", ">>", ">|", "<>", "<&", ">&", "&>", "&>>", "<<<", "<&-", ">&-"):
                op = child.type
            elif child.type == "ERROR" or child.is_missing or child.type in _UNFIT:
                raise self._fail(child)
            else:
                targets.append(child)
        if op in ("<&-", ">&-"):
            return Redirect(fd if fd is not None else 0 if op[0] == "<" else 1, op[:2], parse_word("-"))
        if not targets:
            raise ShellSyntaxError("syntax error: unexpected end of file (expecting redirection target)")
        first = [targets[0]]
        # After the target the grammar takes the command's further words into the redirection.
        for child in targets[1:]:
            if child.start_byte == first[-1].end_byte:
                first.append(child)
            elif words is not None:
                words.append(child)
        text = "".join(map(self._raw, first))
        for real, mark in REDIRECTS.items():
            if op == "<" and text.startswith(mark):
                op, text = real, text.removeprefix(mark)
        if op == "<" and (document := self._masked.document(text)) is not None:
            return Redirect(fd or 0, "<<", document)
        return Redirect(fd if fd is not None else 0 if op[0] == "<" else 1, op, parse_word(text))


def _is_filler(node: Any) -> bool:
    return bool(node.text.startswith(FILLER.encode()))


def _unfit_within(node: Any) -> Any:
    """Return the first part of a word that the shell doesn't know; None if there is none."""
    if node.type in _UNFIT:
        return node
    if node.type in ("command_substitution", "string", "raw_string"):
        return None
    for child in node.children:
        if (found := _unfit_within(child)) is not None:
            return found
    return None
