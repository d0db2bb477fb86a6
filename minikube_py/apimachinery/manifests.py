"""Manifests: from files, folders and stdin to objects that know on which line each of their fields stands.

Stands for kubectl's file reading (`-f`) and sigs.k8s.io/yaml: YAML 1.1 as Go reads it (`yes`, `on`, `y` are booleans,
`0644` is octal, dates stay text, keys become text, merge keys work). Stricter in one thing: a key that stands twice is
an error, where kubectl silently takes the last. Left out: URLs and kustomizations (kubectl -k).
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from minikube_py.apimachinery.meta import Object, describe

__all__ = ["EXTENSIONS", "Manifest", "ManifestError", "Problem", "Report", "decode", "load", "parse"]

EXTENSIONS = (".json", ".yaml", ".yml")
"""What kubectl reads of a folder; it does not descend into it without -R."""

_ALIAS_LIMIT = 1_000_000
"""Values that one document may unfold to through aliases; Go's reader has a like limit ("excessive aliasing")."""

_DEPTH_LIMIT = 200
"""Values within values; the schemas of CustomResourceDefinitions, the deepest that there are, have some 60."""
_TOO_DEEP = f"is nested more than {_DEPTH_LIMIT} deep"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one manifest, with its place and the way on."""

    file: str
    line: int
    """From 1; 0 where it concerns the whole file."""
    path: str
    """Field path as Kubernetes writes it, or ""."""
    message: str
    about: str = ""
    """`Kind/namespace/name` of the object, where it is known."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{place}: {self.about}: {what}" if self.about else f"{place}: {what}"


class ManifestError(ValueError):
    """Everything that is wrong with the files: nothing of them is to be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found; no truth value of its own, because warnings are errors to some."""

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def __bool__(self) -> bool:
        raise TypeError("ask report.errors or report.warnings")


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """One object as it stands in a file."""

    object: Object
    file: str
    """As the user gave it; `-` for stdin."""
    _source: "_Source" = field(repr=False)
    _base: tuple[str | int, ...] = ()

    @property
    def line(self) -> int:
        """The line on which the object begins."""
        return self._source.line_of(self._base)

    def line_of(self, path: str) -> int:
        """Return the line of a field; of the nearest parent that is there where the field itself is missing."""
        return self._source.line_of((*self._base, path))

    def text_of(self, path: str) -> str | None:
        """Return the text of a scalar field as it was written; None for any other field."""
        return self._source.text_of((*self._base, path))

    def advice(self, path: str) -> str:
        """Return what to do about a value, where it shows that the file is a template."""
        return _template_advice(self.text_of(path) or "")

    def problem(self, path: str, message: str) -> Problem:
        """Return a problem with one field of this object."""
        return Problem(self.file, self.line_of(path), path, message, describe(_named(self.object)))


def _named(obj: Object) -> Object:
    metadata = obj.get("metadata")
    return obj if isinstance(metadata, dict) else {**obj, "metadata": {}}


def load(paths: Sequence[str], stdin: IO[str] | None = None) -> list[Manifest]:
    """Read every document of these files, folders, and `-` (stdin).

    Error handling: ManifestError with all problems of all files: unreadable, not YAML, duplicate keys.
    """
    found: list[Manifest] = []
    problems: list[Problem] = []
    for path in paths:
        for name, text in _texts(path, stdin, problems):
            found.extend(_documents(text, name, problems))
    if problems:
        raise ManifestError(problems)
    return found


def parse(text: str, file: str = "-") -> list[Manifest]:
    """Read every document of a text.

    Error handling: as `load`.
    """
    problems: list[Problem] = []
    found = list(_documents(text, file, problems))
    if problems:
        raise ManifestError(problems)
    return found


def decode(text: str) -> Any:
    """Return the value of one document, whatever it is.

    Error handling: ValueError with the line.
    """
    try:
        value = _Source(text, 1).read()
    except _Unreadable as error:
        raise ValueError(f"line {error.line}: {error.what}") from None
    if _deep(value):
        raise ValueError(_TOO_DEEP)
    return value


def _texts(path: str, stdin: IO[str] | None, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    if path == "-":
        if stdin is None:
            problems.append(Problem("-", 0, "", "there is no stdin to read"))
        else:
            yield "-", stdin.read()
        return
    if path.startswith(("http://", "https://")):
        problems.append(Problem(path, 0, "", f"URLs are not fetched; try: curl -fsSL {path} | mkpy up -f -"))
        return
    place = Path(path)
    files: Iterable[Path] = [place]
    if place.is_dir():
        files = sorted(child for child in place.iterdir() if child.suffix in EXTENSIONS and child.is_file())
        if not files:
            problems.append(
                Problem(path, 0, "", f"the folder has no file named {', '.join('*' + e for e in EXTENSIONS)}")
            )
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            problems.append(Problem(str(file), 0, "", f'the path "{file}" does not exist'))
        except UnicodeDecodeError as error:
            problems.append(Problem(str(file), 0, "", f"is not UTF-8 text (byte {error.start})"))
        except OSError as error:
            problems.append(Problem(str(file), 0, "", f"cannot be read: {error.strerror}"))


def _documents(text: str, file: str, problems: list[Problem]) -> Iterator[Manifest]:
    for first_line, body in _split(text):
        source = _Source(body, first_line)
        try:
            value = source.read()
        except _Unreadable as error:
            problems.append(Problem(file, error.line, "", error.what + source.advice(error.line)))
            continue
        if _deep(value):
            problems.append(Problem(file, first_line, "", _TOO_DEEP))
            continue
        if value is None:
            continue
        if not isinstance(value, dict):
            what = f"a Kubernetes object is a mapping with apiVersion and kind, this is {_a(value)}"
            problems.append(Problem(file, first_line, "", what))
            continue
        yield from _unlist(value, file, source, ())


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _a(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the plain value {value!r}"


def _unlist(obj: Object, file: str, source: "_Source", base: tuple[str | int, ...]) -> Iterator[Manifest]:
    """Take `kind: List` (and `PodList`, …) apart, as kubectl does."""
    kind, items = obj.get("kind"), obj.get("items")
    if (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)) or (kind == "List" and not items):
        for index, item in enumerate(items or ()):
            at = (*base, "items", index)
            if isinstance(item, dict):
                yield from _unlist(item, file, source, at)
    else:
        yield Manifest(obj, file, source, base)


_SEPARATOR = re.compile(r"^---[ \t]*(?:#.*)?$", re.MULTILINE)


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Split at `---` lines, as kubectl does: a syntax error in one document leaves the others readable."""
    line, start = 1, 0
    for separator in _SEPARATOR.finditer(text):
        body = text[start : separator.start()]
        if not _nothing(body):
            yield line, body
        line += body.count("\n") + 1
        start = min(separator.end() + 1, len(text))
    body = text[start:]
    if not _nothing(body):
        yield line, body


def _nothing(body: str) -> bool:
    return all(not line.strip() or line.lstrip()[0] in "#%" for line in body.split("\n"))


class _Unreadable(Exception):
    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


_PLAIN = "plain"
_STRING = "tag:yaml.org,2002:str"
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is 10 times as fast where it is


class _Loader(_BaseLoader):  # type: ignore[misc]
    """Composes nodes with line marks and leaves plain scalars to us: PyYAML's idea of YAML 1.1 differs from Go's."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        return super().resolve(kind, value, implicit)


class _Source:
    """The text of one document, and where things stand in it."""

    __slots__ = ("_first_line", "_node", "_text")

    def __init__(self, text: str, first_line: int) -> None:
        self._text = text
        self._first_line = first_line
        self._node: Any = None

    def read(self) -> Any:
        """Return the document's value.

        Error handling: _Unreadable for what is no YAML, and for keys that stand twice.
        """
        text = self._text.lstrip()
        if text.startswith("{"):
            try:
                value = json.loads(text, object_pairs_hook=_unique)
            except (ValueError, RecursionError):
                pass  # perhaps YAML in flow style, perhaps a duplicate: the reader below says where
            else:
                return value
        try:
            self._refuse_depth()
            self._compose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self._first_line + (mark.line if mark else 0)
            raise _Unreadable(line, f"is not valid YAML: {_explained(error, self._text)}") from None
        except yaml.YAMLError as error:
            raise _Unreadable(self._first_line, f"is not valid YAML: {error}") from None
        return None if self._node is None else _Constructor(self._first_line).construct(self._node)

    def _refuse_depth(self) -> None:
        """Count the levels before libyaml's composer descends: it recurses in C, and would end the process.

        A level needs a bracket, or a column in some line; few texts have so many that it's worth to count.
        """
        if (
            self._text.count("[") + self._text.count("{") <= _DEPTH_LIMIT
            and max(map(len, self._text.split("\n"))) <= _DEPTH_LIMIT
        ):
            return
        depth = 0
        for event in yaml.parse(self._text, Loader=_BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_LIMIT:
                raise _Unreadable(self._first_line, _TOO_DEEP)

    def _compose(self) -> None:
        loader = _Loader(self._text.replace("\t", "  ") if self._text.lstrip().startswith("{") else self._text)
        try:
            self._node = loader.get_single_node()
        finally:
            loader.dispose()

    def advice(self, line: int) -> str:
        """Return what to do about an error on a line, where it shows what the text is."""
        return _template_advice("".join(self._text.split("\n")[line - self._first_line :][:1]))

    def text_of(self, path: Sequence[str | int]) -> str | None:
        """Return the text of a scalar as it was written."""
        node, _ = self._find(path)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def line_of(self, path: Sequence[str | int]) -> int:
        """Return the line of the field at a path; `a.b[0]` strings and plain keys may be mixed."""
        return self._find(path)[1]

    def _find(self, path: Sequence[str | int]) -> tuple[Any, int]:
        if self._node is None:
            try:
                self._compose()
            except yaml.YAMLError:
                return None, self._first_line
        node, line = self._node, self._node.start_mark.line if self._node else 0
        for part in path:
            rest: str | int = part
            while rest != "" and node is not None:
                node, mark, rest = _step(node, rest)
                if mark is not None:
                    line = mark.line
        return node, int(self._first_line + line)


def _template_advice(text: str) -> str:
    """Return how to make a manifest of a text with blanks to fill in; "" for other texts."""
    if "{{" in text:
        return "; this is a template: render it first, for Helm with: helm template CHART | mkpy up -f -"
    if re.search(r"\$\{\w+\}|(?<![\w$])\$[A-Z_]+\b", text):
        return "; this is a template: fill it in first, with: envsubst < FILE | mkpy up -f -"
    return ""


def _step(node: Any, path: str | int) -> tuple[Any, Any, str | int]:
    """Go one key or index down: (child or None, its mark, the rest of the path)."""
    if isinstance(path, str) and (found := re.match(r"\[(\d+)\]", path)) and isinstance(node, yaml.SequenceNode):
        rest: str | int = path[found.end() :].removeprefix(".")
        index = int(found[1])
    elif isinstance(path, int):
        rest, index = "", path
    else:
        return _step_into(node, str(path))
    if isinstance(node, yaml.SequenceNode) and index < len(node.value):
        child = node.value[index]
        return child, child.start_mark, rest
    return None, None, ""


def _step_into(node: Any, path: str) -> tuple[Any, Any, str]:
    if not isinstance(node, yaml.MappingNode):
        return None, None, ""
    best: tuple[Any, Any, str] | None = None
    longest = -1
    for key, value in node.value:  # keys may have dots: the longest that fits is meant
        name = str(key.value)
        for start, end in ((name, ""), (f"[{name}]", "")):
            tail = path[len(start) :]
            if path.startswith(start) and (not tail or tail[0] in ".[") and len(start) > longest:
                best, longest = (value, key.start_mark, tail.removeprefix(".") + end), len(start)
        if name == "<<" and best is None:
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                found = _step_into(merged, path)
                if found[0] is not None:
                    best = found
    return best or (None, None, "")


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    what = " ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark
    lines = text.split("\n")
    if mark and mark.line < len(lines) and "\t" in lines[mark.line]:
        return f"{what} (the line has a tab; YAML is indented with spaces)"
    return f"{what} (column {mark.column + 1})" if mark else what


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


class _Constructor:
    """From nodes to JSON values, as sigs.k8s.io/yaml converts them."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._done: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()

    def construct(self, node: Any) -> Any:
        value, size = self._value(node)
        if size > _ALIAS_LIMIT:
            raise _Unreadable(self._first_line, "document contains excessive aliasing")
        return value

    def _value(self, node: Any) -> tuple[Any, int]:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node), 1
        identity = id(node)
        if identity in self._done:
            return self._done[identity]
        if identity in self._open:
            raise _Unreadable(self._line(node), "an anchor contains itself")
        self._open.add(identity)
        size = 1
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = []
            for child in node.value:
                item, item_size = self._value(child)
                value.append(item)
                size += item_size
        else:
            value, size = self._mapping(node)
        self._open.discard(identity)
        self._done[identity] = value, size
        return value, size

    def _mapping(self, node: Any) -> tuple[dict[str, Any], int]:
        value: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        size = 1
        for key_node, child in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                for source in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                    inherited, source_size = self._value(source)
                    if not isinstance(inherited, dict):
                        raise _Unreadable(self._line(child), "map merge requires map or sequence of maps as the value")
                    size += source_size
                    for key, item in inherited.items():
                        merged.setdefault(key, item)
                continue
            key = self._key(key_node)
            if key in lines:
                what = f'key "{key}" already set in map (first on line {lines[key]}); keep one of them'
                raise _Unreadable(self._line(key_node), what)
            lines[key] = self._line(key_node)
            value[key], child_size = self._value(child)
            size += child_size
        for key, item in merged.items():
            value.setdefault(key, item)
        return value, size

    def _key(self, node: Any) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _Unreadable(self._line(node), "a key must be text, not a list or a mapping")
        key = _scalar(node)
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        return "null" if key is None else str(key)

    def _line(self, node: Any) -> int:
        return int(self._first_line + node.start_mark.line)


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NUMBERS = {
    ".inf": math.inf,
    ".Inf": math.inf,
    ".INF": math.inf,
    "+.inf": math.inf,
    "+.Inf": math.inf,
    "+.INF": math.inf,
    "-.inf": -math.inf,
    "-.Inf": -math.inf,
    "-.INF": -math.inf,
    ".nan": math.nan,
    ".NaN": math.nan,
    ".NAN": math.nan,
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"([-+]?)0([0-7]+)")
_PREFIXED = re.compile(r"[-+]?0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")


def _scalar(node: Any) -> Any:
    text: str = node.value
    tag = node.tag
    if tag == _PLAIN:
        return _plain(text)
    if tag == _STRING or not tag.startswith("tag:yaml.org,2002:"):
        return text
    if tag.endswith((":int", ":float", ":bool", ":null")):
        return _plain(text)
    return text


def _plain(text: str) -> Any:
    """Resolve a plain scalar as go-yaml v2 does."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    number = text.replace("_", "")
    if _DECIMAL.fullmatch(number):
        return _bounded(int(number))
    if octal := _OCTAL.fullmatch(number):
        return int(octal[1] + octal[2], 8)
    if _PREFIXED.fullmatch(number):
        return int(number, 0)
    if _FLOAT.fullmatch(number):
        value = float(number)
        if math.isinf(value):
            return text
        return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
    return _NUMBERS.get(text, text)


def _bounded(number: int) -> int | float:
    """What fits no 64 bits becomes a float in Go."""
    return number if -(1 << 63) <= number < 1 << 64 else float(number)
