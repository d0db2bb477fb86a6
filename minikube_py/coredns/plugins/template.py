"""`template CLASS TYPE [ZONE...] { match, answer, additional, authority, rcode, fallthrough }`.

Of Go's template language: `{{ .Name }}`, `.Zone`, `.Class`, `.Type`, `.Remote`, `.Group.x`, `index .Match 1`,
`index .Group "x"` and `parseInt X BASE BITS`; anything else is refused when the Corefile is read, naming the line.
Source: https://coredns.io/plugins/template/
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.cni.dnswire import RCODES, type_number
from minikube_py.coredns.corefile import Directive, zones_of
from minikube_py.coredns.message import Answer, Record, parent_of
from minikube_py.coredns.plugins.plugin import Block, Handler, Outcome, Query, Step

__all__ = ["parse_record", "setup"]


@dataclass(frozen=True, slots=True)
class _Data:
    """What a template may speak of."""

    fields: Mapping[str, str]
    match: Sequence[str]
    group: Mapping[str, str]


_Piece = Callable[[_Data], str]


def _expression(text: str, directive: Directive) -> _Piece:
    """Compile what stands between `{{` and `}}`."""
    words = re.findall(r'"[^"]*"|\([^)]*\)|\S+', text)
    match words:
        case [word] if word.startswith(".Group."):
            name = word.removeprefix(".Group.")
            return lambda data: data.group.get(name, "")
        case [(".Name" | ".Zone" | ".Class" | ".Type" | ".Remote") as word]:
            return lambda data: data.fields[word]
        case [".Question.Name"]:
            return lambda data: data.fields[".Name"]
        case ["index", ".Match", number] if number.isdigit():
            return lambda data: data.match[int(number)] if int(number) < len(data.match) else ""
        case ["index", ".Group", name] if name.startswith('"'):
            return lambda data: data.group.get(name.strip('"'), "")
        case ["parseInt", inner, base, _]:
            value = _expression(inner.strip("()"), directive)
            return lambda data: str(int(value(data), int(base)))
        case [literal] if literal.startswith('"'):
            return lambda data: literal.strip('"')
    return directive.fail(f"plugin/template: '{{{{ {text} }}}}' is not emulated")


def _template(text: str, directive: Directive) -> _Piece:
    pieces: list[_Piece] = []
    for index, part in enumerate(re.split(r"\{\{-?(.*?)-?\}\}", text)):
        if index % 2:
            pieces.append(_expression(part.strip(), directive))
        elif part:
            pieces.append(lambda data, part=part: part)  # type: ignore[misc]  # the default binds this turn's part
    return lambda data: "".join(piece(data) for piece in pieces)


def parse_record(text: str) -> Record:
    """Read one zone-file line, NAME [TTL=3600] [CLASS] TYPE DATA; ValueError if it isn't one."""
    words = text.replace("(", " ").replace(")", " ").split()
    if len(words) < 3:
        raise ValueError(f"{text!r} is not a resource record")
    name, *rest = words
    ttl = 3600
    while rest and (rest[0].isdigit() or rest[0].upper() in ("IN", "CH", "HS")):
        word = rest.pop(0)
        ttl = int(word) if word.isdigit() else ttl
    if len(rest) < 2:
        raise ValueError(f"{text!r} is not a resource record")
    type_number(rest[0])
    type_ = rest[0].upper()
    data = " ".join(rest[1:]) if type_ != "TXT" else text[text.index(rest[0]) + len(rest[0]) :].strip()
    if type_ == "TXT" and not data.startswith('"'):
        data = f'"{data}"'
    return Record(name if name.endswith(".") else f"{name}.", ttl, type_, data)


_Sections = dict[str, list[_Piece]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One `template` of the Corefile, and what it answers."""

    klass: str
    type: str
    zones: Sequence[str]
    patterns: Sequence[re.Pattern[str]]
    sections: _Sections
    rcode: str
    fallthrough: Sequence[str] | None
    personal: bool
    """Whether answers depend on who asks."""

    def step(self, query: Query, next_: Handler) -> Outcome:
        question = query.question
        zone = max((z for z in self.zones if parent_of(question.name, z)), key=len, default=None)
        if zone is None or self.type not in ("ANY", question.type) or self.klass not in ("ANY", question.klass):
            return next_(query)
        name = question.name.lower()
        found = next(filter(None, (pattern.search(name) for pattern in self.patterns)), None)
        if self.patterns and found is None:
            if self.fallthrough is not None and any(parent_of(name, z) for z in self.fallthrough):
                return next_(query)
            return Answer("SERVFAIL", authoritative=False, plugin="template", why="plugin/template: no match")
        groups = found.groupdict("") if found else {}
        matched = [found[0], *(group or "" for group in found.groups())] if found else [name]
        data = _Data(
            {".Name": name, ".Zone": zone, ".Class": question.klass, ".Type": question.type, ".Remote": query.remote},
            matched,
            {**{str(index): text for index, text in enumerate(matched)}, **groups},
        )
        try:
            records = {
                section: tuple(parse_record(piece(data)) for piece in pieces)
                for section, pieces in self.sections.items()
            }
        except ValueError as error:
            return Answer("SERVFAIL", authoritative=False, plugin="template", why=f"plugin/template: {error}")
        # A fabricated CNAME is followed, as CoreDNS does by asking itself.
        alias = next((r.rdata for r in records["answer"] if r.type == "CNAME"), "")
        alone = len(records["answer"]) == 1 and question.type not in ("CNAME", "ANY")
        return Answer(
            self.rcode,
            records["answer"],
            records["authority"],
            records["additional"],
            chase=alias if alone else "",
            plugin="template",
            shared=not self.personal,
        )


def setup(directive: Directive, block: Block) -> Step:
    if len(directive.args) < 2:
        directive.fail("plugin/template: template CLASS TYPE [ZONE...]")
    patterns: list[re.Pattern[str]] = []
    sections: _Sections = {"answer": [], "additional": [], "authority": []}
    rcode = "NOERROR"
    fallthrough: tuple[str, ...] | None = None
    for line in directive.block:
        match line.name, line.args:
            case "match", (_, *_):
                for pattern in line.args:
                    try:
                        patterns.append(re.compile(pattern))
                    except re.error as error:
                        line.fail(f"plugin/template: could not compile {pattern!r}: {error}")
            case ("answer" | "additional" | "authority") as section, (text,):
                sections[section].append(_template(text, line))
            case (("answer" | "additional" | "authority"), (_, *_)):
                line.fail("plugin/template: a record is one argument: put it in quotes")
            case "rcode", (text,) if text.upper() in RCODES:
                rcode = text.upper()
            case "rcode", _:
                line.fail(f"plugin/template: unknown rcode {' '.join(line.args)!r}")
            case "fallthrough", names:
                fallthrough = zones_of(names, line.line) or (".",)
            case "ederror", _:
                pass  # extended errors only comment on the answer
            case _:
                line.unknown("template")
    return _Rule(
        klass=directive.args[0].upper(),
        type=directive.args[1].upper(),
        zones=zones_of(directive.args[2:], directive.line) or block.zones,
        patterns=patterns,
        sections=sections,
        rcode=rcode,
        fallthrough=fallthrough,
        personal=any(".Remote" in arg for line in directive.block for arg in line.args),
    ).step
