"""The JSONPath that printer columns use: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.

Stands for k8s.io/client-go/util/jsonpath. Left out: ranges, slices, unions and recursive descent.
"""

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["find"]

_STEP = re.compile(
    r"""\.?(?P<name>(?:[^.\[\]\\]|\\.)+)
      | \[(?P<index>-?\d+)\]
      | \[\*\]|\.\*
      | \['(?P<quoted>(?:[^'\\]|\\.)*)'\]
      | \[\?\(@\.?(?P<key>(?:[^=!<>\s\\]|\\.)+)\s*(?P<op>==|!=)\s*
            (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^)]*))\)\]
    """,
    re.VERBOSE,
)


def find(value: Any, path: str) -> list[Any]:
    """Return everything that a path finds, in order.

    Error handling: a path that can't be read finds nothing.
    """
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    found = [value]
    position = 0
    while position < len(text) and text[position:] != ".":
        step = _STEP.match(text, position)
        if step is None or step.end() == position:
            return []
        found = [item for parent in found for item in _follow(parent, step)]
        position = step.end()
    return found


def _follow(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = step["name"] if step["name"] is not None else step["quoted"]
    if step["index"] is not None:
        index = int(step["index"])
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]
    elif step["key"] is not None:
        wanted = next(text for text in (step["double"], step["single"], step["bare"], "") if text is not None)
        for item in value if isinstance(value, list) else ():
            have = find(item, "." + step["key"])
            if (bool(have) and _text(have[0]) == wanted.strip()) == (step["op"] == "=="):
                yield item
    elif name is not None and name != "*":
        key = re.sub(r"\\(.)", r"\1", name)
        if isinstance(value, dict) and key in value:
            yield value[key]
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
