"""POSIX regular expressions as Python's: what grep and sed read. Pure.

Leaves out: collating elements and equivalence classes.
"""

import re

from minikube_py.images.shell.process import UsageError

__all__ = ["compiled", "posix_regex"]


_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f",
    "digit": "0-9",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def posix_regex(text: str, *, extended: bool) -> str:
    """Return Python's form of a POSIX regular expression: in basic ones, \\( \\{ \\| \\+ \\? are the special forms."""
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            following = text[at + 1]
            at += 2
            if following in "(){}|+?" and not extended:
                out.append(following)
            elif following == "<" or following == ">":
                out.append(r"\b")
            elif following in "wWsSbBnt123456789":
                out.append("\\" + following)
            else:
                out.append(re.escape(following))
        elif char == "[":
            end = at + 1 + (text[at + 1 : at + 2] == "^")
            end = end + 1 if text[end : end + 1] == "]" else end
            while end < len(text) and text[end] != "]":
                closing = text.find(":]", end) if text.startswith("[:", end) else -1
                end = closing + 2 if closing >= 0 else end + 1
            if end >= len(text):
                raise UsageError("bad regex: unmatched [", 2)
            inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            for name, members in _CLASSES.items():
                inside = inside.replace(f"\\[:{name}:]", members)
            if inside.startswith("]") or inside.startswith("^]"):
                inside = inside.replace("]", "\\]", 1)
            out.append(f"[{inside}]")
            at = end + 1
        elif char in "(){}|+?" and not extended:
            out.append("\\" + char)
            at += 1
        elif char == "*" and (not out or out[-1] in ("(", "|", "^")):
            out.append("\\*")
            at += 1
        else:
            out.append("\\Z" if char == "$" and at == len(text) - 1 else char)
            at += 1
    return "".join(out)


def compiled(text: str, *, extended: bool, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a POSIX regular expression; UsageError if it is none."""
    try:
        return re.compile(posix_regex(text, extended=extended), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(f"bad regex '{text}': {error}", 2) from None
