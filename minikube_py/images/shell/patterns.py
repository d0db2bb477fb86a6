"""Shell patterns (`*`, `?`, `[…]`) as regular expressions; globbing over the container's files. Pure but for the tree.

Source: POSIX XCU §2.13. Quoted characters stand for themselves.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

__all__ = ["Segment", "has_magic", "matches", "pathnames", "regex", "strip_prefix", "strip_suffix"]

Segment = tuple[str, bool]
"""Text and whether it was quoted."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def _chars(segments: Sequence[Segment]) -> list[Segment]:
    """Cut into single characters; a backslash in unquoted text quotes what follows."""
    chars: list[Segment] = []
    for text, quoted in segments:
        at = 0
        while at < len(text):
            if not quoted and text[at] == "\\" and at + 1 < len(text):
                chars.append((text[at + 1], True))
                at += 2
                continue
            chars.append((text[at], quoted))
            at += 1
    return chars


@lru_cache(maxsize=512)
def regex(segments: tuple[Segment, ...], *, path: bool = False, lazy: bool = False) -> str:
    """Return the regular expression of a pattern; with `path`, wildcards don't match slashes."""
    chars = _chars(segments)
    out: list[str] = []
    at = 0
    any_ = "[^/]" if path else "."
    while at < len(chars):
        char, quoted = chars[at]
        at += 1
        if not quoted and char in "?*+@!" and chars[at : at + 1] == [("(", False)]:
            at, body = _group(chars, at + 1, path)
            rest = regex(tuple(chars[at:]), path=path) if char == "!" else ""
            out.append(f"(?!(?:{body}){rest}\\Z){any_}*" if char == "!" else f"(?:{body}){_TIMES[char]}")
        elif quoted or char not in "*?[":
            out.append(re.escape(char))
        elif char == "*":
            out.append(any_ + ("*?" if lazy else "*"))
        elif char == "?":
            out.append(any_)
        else:
            end = _bracket_end(chars, at)
            if end is None:
                out.append("\\[")
                continue
            out.append(_bracket(chars[at:end]))
            at = end + 1
    return "".join(out)


_TIMES = {"?": "?", "*": "*", "+": "+", "@": ""}


def _group(chars: Sequence[Segment], at: int, path: bool) -> tuple[int, str]:
    """Return the index after ksh's `@(a|b)`, which opened before `at`, and the alternatives as an expression."""
    choices: list[list[Segment]] = [[]]
    depth = 1
    while at < len(chars):
        char = chars[at]
        at += 1
        if char == ("(", False):
            depth += 1
        elif char == (")", False):
            depth -= 1
            if not depth:
                break
        elif char == ("|", False) and depth == 1:
            choices.append([])
            continue
        choices[-1].append(char)
    return at, "|".join(regex(tuple(choice), path=path) for choice in choices)


def _bracket_end(chars: Sequence[Segment], at: int) -> int | None:
    start = at + (1 if at < len(chars) and chars[at] in (("!", False), ("^", False)) else 0)
    for end in range(start + 1, len(chars)):
        if chars[end] == ("]", False):
            inside = "".join(char for char, _ in chars[start:end])
            if inside.count("[:") <= inside.count(":]"):
                return end
    return None


def _bracket(chars: Sequence[Segment]) -> str:
    text = ""
    start = 0
    if chars[0] in (("!", False), ("^", False)):
        text, start = "^", 1
    inside = "".join(("\\" + char) if quoted or char in "\\[]^&~|" else char for char, quoted in chars[start:])
    for name, members in _CLASSES.items():
        inside = inside.replace(f"\\[:{name}:\\]", members)
    return f"[{text}{inside}]"


def has_magic(segments: Sequence[Segment]) -> bool:
    """Tell whether there is a wildcard in the unquoted text."""
    plain = "".join("\0" * len(text) if quoted else text for text, quoted in segments)
    return any(mark in plain for mark in ("*", "?", "[", "@(", "+(", "!("))


def matches(segments: Sequence[Segment], text: str, *, cases: bool = True) -> bool:
    """Tell whether the pattern matches all of `text`; without `cases`, upper and lower case are one."""
    try:
        return re.fullmatch(regex(tuple(segments)), text, re.DOTALL | (0 if cases else re.IGNORECASE)) is not None
    except re.error:
        return "".join(part for part, _ in segments) == text


def strip_prefix(text: str, segments: Sequence[Segment], *, longest: bool) -> str:
    """Return `${text#pattern}`, or `##` if `longest`."""
    lengths = range(len(text), -1, -1) if longest else range(len(text) + 1)
    return next((text[length:] for length in lengths if matches(segments, text[:length])), text)


def strip_suffix(text: str, segments: Sequence[Segment], *, longest: bool) -> str:
    """Return `${text%pattern}`, or `%%` if `longest`."""
    starts = range(len(text) + 1) if longest else range(len(text), -1, -1)
    return next((text[:start] for start in starts if matches(segments, text[start:])), text)


class Tree(Protocol):
    """The part of `files.View` that globbing needs."""

    def list(self, name: str) -> list[str]: ...

    def exists(self, name: str) -> bool: ...

    def is_dir(self, name: str) -> bool: ...


def pathnames(segments: Sequence[Segment], tree: Tree, *, hidden: bool = False) -> list[str]:
    """Return the sorted names that a pattern matches in the tree; none if it has no wildcard.

    `hidden`: a wildcard at a name's beginning matches a dot, too.
    """
    if not has_magic(segments):
        return []
    parts: list[list[Segment]] = [[]]
    for char in _chars(segments):
        if char[0] == "/":
            parts.append([])
        else:
            parts[-1].append(char)
    absolute = not parts[0]
    return sorted(_descend("/" if absolute else "", parts[1:] if absolute else parts, tree, hidden))


def _descend(base: str, parts: Sequence[Sequence[Segment]], tree: Tree, dots: bool) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if not has_magic(part):
        name = base + "".join(char for char, _ in part)
        if not rest:
            if not part or tree.exists(name):
                yield name
        elif tree.is_dir(name or "/"):
            yield from _descend(f"{name}/", rest, tree, dots)
        return
    try:
        names = tree.list(base or ".")
    except OSError:
        return
    hidden = dots or part[0][0] == "."
    for name in names:
        if (hidden or not name.startswith(".")) and matches(part, name):
            if not rest:
                yield base + name
            elif tree.is_dir(base + name):
                yield from _descend(f"{base}{name}/", rest, tree, dots)
