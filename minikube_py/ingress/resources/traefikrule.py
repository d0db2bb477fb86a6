"""Traefik's rule expressions: Host(`a`) && (PathPrefix(`/x`) || !Method(`GET`)). Pure.

Matchers: Host, HostRegexp, Path, PathPrefix, PathRegexp, Header, HeaderRegexp, Method, Query, QueryRegexp, and v2's
plurals. Left out: ClientIP.
Source: https://doc.traefik.io/traefik/v3.3/routing/routers/#rule
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.ingress.resources.routes import Asked

__all__ = ["Rule", "parse"]

Takes = Callable[[Asked], bool]

_TOKEN = re.compile(r"\s*(?:(&&|\|\||!|\(|\)|,)|([A-Za-z]+)|`([^`]*)`|\"((?:[^\"\\]|\\.)*)\")")


@dataclass(frozen=True, slots=True)
class Rule:
    """One expression."""

    takes: Takes
    hosts: tuple[str, ...]
    """The only hosts that can match; none: any may."""
    path: str
    """A path that it names, for messages."""


def _matcher(name: str, values: list[str]) -> Takes:
    match name.removesuffix("s") if name.startswith(("Header", "Query")) else name:
        case "Host":
            hosts = {value.lower() for value in values}
            return lambda asked: asked.host in hosts
        case "HostRegexp":
            of_host = [re.compile(value, re.IGNORECASE) for value in values]
            return lambda asked: any(each.search(asked.host) for each in of_host)
        case "Path":
            return lambda asked: asked.path in values
        case "PathPrefix":
            return lambda asked: asked.path.startswith(tuple(values))
        case "PathRegexp":
            of_path = [re.compile(value) for value in values]
            return lambda asked: any(each.search(asked.path) for each in of_path)
        case "Method":
            methods = {value.upper() for value in values}
            return lambda asked: asked.method in methods
        case "Header" | "HeaderRegexp" | "Query" | "QueryRegexp" if len(values) == 2:
            key, value = values
            where: Callable[[Asked], str | None] = (
                (lambda asked: asked.headers.get(key)) if name.startswith("H") else (lambda asked: asked.query.get(key))
            )
            if "Regexp" in name:
                pattern = re.compile(value)
                return lambda asked: (found := where(asked)) is not None and pattern.search(found) is not None
            return lambda asked: where(asked) == value
        case _:
            raise ValueError(f"{name} with {len(values)} values is no matcher known here")


class _Parser:
    """Recursive descent: or < and < not < matcher or parentheses."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"can't read {text[at : at + 20]!r}")
            operator, name, raw, quoted = found.groups()
            if operator:
                self.tokens.append((operator, operator))
            elif name:
                self.tokens.append(("name", name))
            else:
                self.tokens.append(("value", raw if raw is not None else re.sub(r"\\(.)", r"\1", quoted)))
            at = found.end()
        self.tokens.append(("end", ""))
        self.path = ""

    def take(self, kind: str) -> str:
        found, text = self.tokens[0]
        if found != kind:
            raise ValueError(f"expected {kind}, found {text or found!r}")
        del self.tokens[0]
        return text

    def any_of(self) -> tuple[Takes, frozenset[str] | None]:
        takes, hosts = self.all_of()
        while self.tokens[0][0] == "||":
            del self.tokens[0]
            other, more = self.all_of()
            takes = _either(takes, other)
            hosts = hosts | more if hosts is not None and more is not None else None
        return takes, hosts

    def all_of(self) -> tuple[Takes, frozenset[str] | None]:
        takes, hosts = self.one()
        while self.tokens[0][0] == "&&":
            del self.tokens[0]
            other, more = self.one()
            takes = _both(takes, other)
            hosts = more if hosts is None else hosts if more is None else hosts & more
        return takes, hosts

    def one(self) -> tuple[Takes, frozenset[str] | None]:
        kind = self.tokens[0][0]
        if kind == "!":
            del self.tokens[0]
            takes, _ = self.one()
            return (lambda asked: not takes(asked)), None
        if kind == "(":
            del self.tokens[0]
            inner = self.any_of()
            self.take(")")
            return inner
        name = self.take("name")
        self.take("(")
        values = [self.take("value")]
        while self.tokens[0][0] == ",":
            del self.tokens[0]
            values.append(self.take("value"))
        self.take(")")
        if name.startswith("Path"):
            self.path = self.path or values[0]
        return _matcher(name, values), frozenset(map(str.lower, values)) if name == "Host" else None


def _either(one: Takes, other: Takes) -> Takes:
    return lambda asked: one(asked) or other(asked)


def _both(one: Takes, other: Takes) -> Takes:
    return lambda asked: one(asked) and other(asked)


def parse(text: str) -> Rule:
    """Read an expression; ValueError or re.error says what is wrong with it."""
    parser = _Parser(text)
    takes, hosts = parser.any_of()
    parser.take("end")
    return Rule(takes, tuple(sorted(hosts or ())), parser.path or "/")
