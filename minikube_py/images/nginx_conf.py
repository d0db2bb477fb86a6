"""nginx's configuration language, as far as the nginx stand-in follows it. Pure.

Source: https://nginx.org/en/docs/http/ngx_http_core_module.html (`location`, `server_name`, `root`) and
ngx_http_proxy_module (how `proxy_pass` with a path replaces the location's prefix).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Location", "Server", "choose", "interpolate", "load", "parse"]

Directive = tuple[list[str], "list[Directive] | None"]
"""Words, and the block that follows them."""


@dataclass(slots=True)
class Location:
    modifier: str = ""
    path: str = "/"
    root: str = ""
    index: tuple[str, ...] = ()
    returned: tuple[int, str] | None = None
    proxy_pass: str = ""
    proxy_headers: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    default_type: str = ""

    def target(self, path_qs: str, variables: Mapping[str, str]) -> str:
        """Return the URL that `proxy_pass` means: with a path it replaces the location's prefix."""
        target = interpolate(self.proxy_pass, variables)
        scheme, _, rest = target.partition("://")
        host, slash, path = rest.partition("/")
        if not slash or self.modifier in ("~", "~*"):
            return f"{scheme}://{host}{path_qs}"
        return f"{scheme}://{host}/{path}{path_qs.removeprefix(self.path)}"


@dataclass(slots=True)
class Server:
    ports: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    default: bool = False
    root: str = ""
    index: tuple[str, ...] = ("index.html", "index.htm")
    default_type: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)
    base: Location = field(default_factory=Location)

    def location(self, path: str) -> Location:
        """Choose as nginx: exact, `^~`, first matching regular expression, longest prefix."""
        if self.base.returned:
            return self.base
        if exact := next((at for at in self.locations if at.modifier == "=" and at.path == path), None):
            return exact
        prefixes = [at for at in self.locations if at.modifier in ("", "^~") and path.startswith(at.path)]
        longest = max(prefixes, key=lambda at: len(at.path), default=self.base)
        if longest.modifier == "^~":
            return longest
        for at in self.locations:
            if at.modifier in ("~", "~*") and re.search(at.path, path, re.I if at.modifier == "~*" else 0):
                return at
        return longest


def parse(text: str) -> list[Directive]:
    """Read a configuration file into nested directives; what is not closed ends with the file."""
    tokens = re.findall(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{};]|#[^\n]*|(?:\$\{\w+\}|[^\s{};\"'])+", text)
    stack: list[list[Directive]] = [[]]
    words: list[str] = []
    for token in tokens:
        if token.startswith("#"):
            continue
        if token == ";":
            if words:
                stack[-1].append((words, None))
            words = []
        elif token == "{":
            block: list[Directive] = []
            stack[-1].append((words, block))
            stack.append(block)
            words = []
        elif token == "}":
            if len(stack) > 1:
                stack.pop()
            words = []
        else:
            words.append(token[1:-1] if token[0] in "\"'" and len(token) > 1 else token)
    return stack[0]


_QUIET = frozenset(
    (
        *("worker_processes", "error_log", "pid", "events", "http", "include", "log_format", "access_log", "sendfile"),
        *("tcp_nopush", "tcp_nodelay", "keepalive_timeout", "gzip", "user", "worker_connections", "server_tokens"),
        *("types", "charset", "client_max_body_size"),
    )
)
"""Directives whose absence nobody would notice here."""


def load(texts: Mapping[str, str], default_port: int) -> tuple[list[Server], list[str]]:
    """Return the servers of all files (or the default one) and the names of directives without effect."""
    servers: list[Server] = []
    ignored: dict[str, None] = {}
    for text in texts.values():
        for words, block in _servers(parse(text)):
            del words
            servers.append(_server(block or [], default_port, ignored))
    if not servers:
        servers = [Server(ports=(default_port,), default=True)]
    return servers, [name for name in ignored if name not in _QUIET]


def _servers(directives: Iterable[Directive]) -> Iterable[Directive]:
    for words, block in directives:
        if words[:1] == ["server"] and block is not None:
            yield words, block
        elif words[:1] == ["http"] and block is not None:
            yield from _servers(block)


def _server(block: Sequence[Directive], default_port: int, ignored: dict[str, None]) -> Server:
    server = Server()
    for words, inner in block:
        match words:
            case ["listen", address, *options]:
                port = address.rpartition(":")[2]
                if port.isdigit() and not address.startswith("["):
                    server.ports = tuple(dict.fromkeys((*server.ports, int(port))))
                server.default = server.default or "default_server" in options
            case ["server_name", *names]:
                server.names = tuple(names)
            case ["root", root]:
                server.root = root
            case ["index", *names]:
                server.index = tuple(names)
            case ["default_type", kind]:
                server.default_type = kind
            case ["add_header", name, value, *_]:
                server.headers.append((name, value))
            case ["location", *matcher] if inner is not None:
                server.locations.append(_location(matcher, inner, ignored))
            case ["return", *_]:
                _apply(server.base, words, ignored)
            case [name, *_]:
                ignored[name] = None
    server.ports = server.ports or (default_port,)
    return server


def _location(matcher: Sequence[str], block: Sequence[Directive], ignored: dict[str, None]) -> Location:
    location = Location(matcher[0] if len(matcher) > 1 else "", matcher[-1] if matcher else "/")
    for words, _ in block:
        _apply(location, words, ignored)
    return location


def _apply(location: Location, words: Sequence[str], ignored: dict[str, None]) -> None:
    match list(words):
        case ["root", root]:
            location.root = root
        case ["index", *names]:
            location.index = tuple(names)
        case ["return", status, *text] if status.isdigit():
            location.returned = (int(status), text[0] if text else "")
        case ["return", url]:
            location.returned = (302, url)
        case ["proxy_pass", target]:
            location.proxy_pass = target
        case ["proxy_set_header", name, value]:
            location.proxy_headers.append((name, value))
        case ["add_header", name, value, *_]:
            location.headers.append((name, value))
        case ["default_type", kind]:
            location.default_type = kind
        case [name, *_]:
            ignored[name] = None


def choose(servers: Sequence[Server], host: str) -> Server:
    """Choose by Host: exact name, wildcard, the default server, the first."""
    name = host.partition(":")[0].lower()
    for server in servers:
        if name in server.names:
            return server
    for server in servers:
        for pattern in server.names:
            if pattern.startswith("*.") and name.endswith(pattern[1:]):
                return server
    return next((server for server in servers if server.default), servers[0])


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace nginx variables; `\\n` is a line end, as in a quoted string; unknown ones are empty."""
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables.get(found[1] or found[2], ""), text)
