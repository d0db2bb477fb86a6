"""Reading a Corefile: tokens, server blocks, directives with the lines they stand on; no meaning yet.

Stands for CoreDNS' caddyfile parser. Left out: importing files (snippets are imported), globbing.
Source: https://coredns.io/manual/configuration/
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

__all__ = ["CorefileError", "Directive", "ServerBlock", "default_corefile", "duration", "parse", "zones_of"]


class CorefileError(ValueError):
    """The Corefile can't be used; the message names the line and what to do."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Corefile:{line} - {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of a block, with the block that may follow it."""

    name: str
    args: tuple[str, ...]
    line: int
    block: "tuple[Directive, ...]" = ()

    def fail(self, message: str) -> NoReturn:
        raise CorefileError(self.line, f"Error during parsing: {message}")

    def unknown(self, plugin: str) -> NoReturn:
        """Refuse a property that the plugin doesn't have, or that isn't emulated."""
        self.fail(f"plugin/{plugin}: unknown property '{self.name}'")


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """`KEY... { directives }`."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    line: int

    @property
    def port(self) -> int:
        ports = {int(m[1]) for key in self.keys if (m := re.search(r":(\d+)$", key))}
        if len(ports) > 1:
            raise CorefileError(self.line, "the names of one block have different ports; write one block for each port")
        return ports.pop() if ports else 53

    @property
    def zones(self) -> tuple[str, ...]:
        """The block's zones with trailing dots, lower case."""
        names: dict[str, None] = {}
        for key in self.keys:
            scheme, separator, rest = key.rpartition("://")
            if separator and scheme != "dns":
                raise CorefileError(self.line, f"{key!r}: only plain DNS is served here, not {scheme}")
            names |= dict.fromkeys(zones_of((re.sub(r":\d+$", "", rest),), self.line))
        return tuple(names)


def zones_of(names: tuple[str, ...], line: int) -> tuple[str, ...]:
    """Normalise zone names: lower case, trailing dot; a CIDR becomes the reverse zones that it covers."""
    found: list[str] = []
    for name in names:
        if "/" not in name:
            found.append(name.lower() if name.endswith(".") else f"{name.lower()}.")
            continue
        from ipaddress import IPv4Network

        try:
            network = IPv4Network(name, strict=False)
        except ValueError:
            raise CorefileError(line, f"{name!r} is neither a zone nor an IPv4 network") from None
        whole = -(-max(network.prefixlen, 8) // 8) * 8
        for subnet in network.subnets(new_prefix=whole):
            octets = str(subnet.network_address).split(".")[: whole // 8]
            found.append(".".join(reversed(octets)) + ".in-addr.arpa.")
    return tuple(found)


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str, directive: Directive) -> float:
    """Return seconds of a Go duration (`5s`, `1h30m`, `100ms`)."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        directive.fail(f"{directive.name}: {text!r} is not a duration such as 5s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class _Token(NamedTuple):
    text: str
    line: int
    quoted: bool = False


def _tokens(text: str, environment: Mapping[str, str]) -> Iterator[_Token]:
    line, position = 1, 0
    text = re.sub(r"\{\$(\w+)\}|\{%(\w+)%\}", lambda m: environment.get(m[1] or m[2], ""), text)
    while position < len(text):
        char = text[position]
        if char == "\n":
            line += 1
        if char.isspace():
            position += 1
        elif char == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif char == '"':
            value, start = "", line
            position += 1
            while position < len(text) and text[position] != '"':
                if text[position] == "\\" and text[position + 1 : position + 2] == '"':
                    position += 1
                value += text[position]
                line += text[position] == "\n"
                position += 1
            if position >= len(text):
                raise CorefileError(start, 'Syntax error - a quotation mark (") is never closed')
            position += 1
            yield _Token(value, start, True)
        else:
            match = re.compile(r"\S+").match(text, position)
            assert match
            yield _Token(match[0], line)
            position = match.end()


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._snippets: dict[str, tuple[Directive, ...]] = {}

    def blocks(self) -> list[ServerBlock]:
        found = []
        while self._at < len(self._tokens):
            start = self._tokens[self._at]
            keys: list[str] = []
            while self._at < len(self._tokens) and not self._is("{"):
                token = self._tokens[self._at]
                if token.text == "}":
                    raise CorefileError(token.line, "Syntax error - '}' without a '{' before")
                keys.extend(key for key in token.text.split(",") if key)
                self._at += 1
            if self._at >= len(self._tokens):
                raise CorefileError(start.line, f"Syntax error - expected '{{' after {' '.join(keys)!r}")
            if not keys:
                raise CorefileError(
                    start.line, "Syntax error - a server block needs a zone before its '{', such as .:53"
                )
            directives = self._block()
            if len(keys) == 1 and keys[0].startswith("(") and keys[0].endswith(")"):
                self._snippets[keys[0][1:-1]] = directives
            else:
                found.append(ServerBlock(tuple(keys), directives, start.line))
        return found

    def _is(self, text: str) -> bool:
        token = self._tokens[self._at]
        return token.text == text and not token.quoted

    def _block(self) -> tuple[Directive, ...]:
        opening = self._tokens[self._at]
        self._at += 1
        found: list[Directive] = []
        while True:
            if self._at >= len(self._tokens):
                raise CorefileError(opening.line, "Syntax error - this '{' is never closed")
            if self._is("}"):
                self._at += 1
                return tuple(found)
            first = self._tokens[self._at]
            self._at += 1
            args: list[str] = []
            block: tuple[Directive, ...] = ()
            while self._at < len(self._tokens) and self._tokens[self._at].line == first.line and not self._is("}"):
                if self._is("{"):
                    block = self._block()
                    break
                args.append(self._tokens[self._at].text)
                self._at += 1
            if first.text == "import":
                if not args or args[0] not in self._snippets:
                    raise CorefileError(first.line, f"import: no snippet ({' '.join(args)}) stands before this line")
                found.extend(self._snippets[args[0]])
            else:
                found.append(Directive(first.text, tuple(args), first.line, block))


def parse(text: str, environment: Mapping[str, str] | None = None) -> list[ServerBlock]:
    """Return the server blocks.

    Error handling: CorefileError, naming the line.
    """
    return _Parser(list(_tokens(text, environment or {}))).blocks()


def default_corefile(domain: str = "cluster.local") -> str:
    """Return kubeadm's Corefile, with `log` on so that the queries served are seen, and without its 5 s lameduck."""
    return f"""\
.:53 {{
    errors
    log
    health
    ready
    kubernetes {domain.strip(".")} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain.strip(".")}
       disable denial {domain.strip(".")}
    }}
    loop
    reload
    loadbalance
}}
"""
