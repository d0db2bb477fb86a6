"""nginx's configuration language, as far as the nginx stand-in follows it. Pure.

Source: https://nginx.org/en/docs/http/ngx_http_core_module.html (`location`, `server_name`, `root`) and
ngx_http_proxy_module (how `proxy_pass` with a path replaces the location's prefix).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Configuration", "Location", "Rewrite", "Routed", "Server", "choose", "interpolate", "load", "parse"]

Directive = tuple[list[str], "list[Directive] | None"]
"""Words, and the block that follows them."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`rewrite regex replacement [last|break|redirect|permanent]`."""

    pattern: re.Pattern[str]
    replacement: str
    flag: str = ""

    def apply(self, uri: str) -> str | None:
        """Return the new URI (or URL); None where the pattern doesn't match."""
        match = self.pattern.search(uri)
        if match is None:
            return None
        return re.sub(
            r"\$(\d)", lambda at: match[int(at[1])] or "" if int(at[1]) <= match.re.groups else "", self.replacement
        )


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a request goes: a location with the URI that rewrites made, or at once an answer."""

    location: "Location"
    uri: str
    answer: tuple[int, str] | None = None


@dataclass(slots=True)
class Location:
    modifier: str = ""
    path: str = "/"
    root: str = ""
    alias: str = ""
    try_files: tuple[str, ...] = ()
    rewrites: list[Rewrite] = field(default_factory=list)
    error_pages: dict[int, tuple[int | None, str]] = field(default_factory=dict)
    """Status → (the status instead, where one is given; the page's URI)."""
    stub_status: bool = False
    autoindex: bool = False
    index: tuple[str, ...] = ()
    returned: tuple[int, str] | None = None
    proxy_pass: str = ""
    proxy_headers: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    default_type: str = ""

    def file(self, uri: str, root: str) -> str:
        """Return the path of a file: below `root`, or with `alias` in place of the location's prefix."""
        if self.alias:
            return self.alias + uri.removeprefix(self.path)
        return (self.root or root).rstrip("/") + uri

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
    certificate: tuple[str, str] = ("", "")
    """Of `ssl_certificate` and its key."""
    tls_ports: tuple[int, ...] = ()

    def route(self, uri: str) -> Routed:
        """Follow rewrites from location to location; nginx gives up after ten rounds with 500."""
        if self.base.returned:
            return Routed(self.base, uri, self.base.returned)
        found = _rewritten(self.base, uri)
        for _ in range(10):
            if found.answer is not None:
                return found
            location = self.location(found.uri)
            before, found = found.uri, _rewritten(location, found.uri)
            if found.answer is not None or found.uri == before or found.location is location:
                return Routed(location, found.uri, found.answer or location.returned)
        return Routed(self.base, found.uri, (500, ""))

    def named(self, name: str) -> Location | None:
        """Return the location `@name`."""
        return next((at for at in self.locations if at.path == name), None)

    def location(self, path: str) -> Location:
        """Choose as nginx: exact, `^~`, first matching regular expression, longest prefix."""
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


@dataclass(slots=True)
class Configuration:
    """What is honoured of a configuration."""

    servers: list[Server]
    upstreams: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    """Names of directives without effect."""


def load(texts: Mapping[str, str], default_port: int) -> Configuration:
    """Return the servers of all files, or the default one."""
    found = Configuration([])
    ignored: dict[str, None] = {}
    for text in texts.values():
        for words, block in _blocks(parse(text)):
            if words[0] == "upstream" and len(words) > 1:
                hosts = [inner[1] for inner, _ in block if inner[:1] == ["server"] and len(inner) > 1]
                found.upstreams[words[1]] = hosts
            else:
                found.servers.append(_server(block, default_port, ignored))
    if not found.servers:
        found.servers = [Server(ports=(default_port,), default=True)]
    found.ignored = [name for name in ignored if name not in _QUIET]
    return found


def _blocks(directives: Iterable[Directive]) -> Iterable[tuple[list[str], list[Directive]]]:
    for words, block in directives:
        if words[:1] in (["server"], ["upstream"]) and block is not None:
            yield words, block
        elif words[:1] == ["http"] and block is not None:
            yield from _blocks(block)


def _rewritten(location: Location, uri: str) -> Routed:
    """Apply a location's rewrites; a Routed of that location means that no further one is looked for."""
    start = uri
    for rule in location.rewrites:
        changed = rule.apply(uri)
        if changed is None:
            continue
        if rule.flag in ("redirect", "permanent") or changed.startswith(("http://", "https://")):
            return Routed(location, uri, (301 if rule.flag == "permanent" else 302, changed))
        uri = changed.partition("?")[0]
        if rule.flag == "break":
            return Routed(location, uri)
        if rule.flag == "last":
            break
    return Routed(_UNDECIDED if uri != start else location, uri)


_UNDECIDED = Location()


def _server(block: Sequence[Directive], default_port: int, ignored: dict[str, None]) -> Server:
    server = Server()
    for words, inner in block:
        match words:
            case ["listen", address, *options]:
                port = address.rpartition(":")[2]
                if port.isdigit() and not address.startswith("["):
                    server.ports = tuple(dict.fromkeys((*server.ports, int(port))))
                    if "ssl" in options:
                        server.tls_ports = (*server.tls_ports, int(port))
                server.default = server.default or "default_server" in options
            case ["ssl_certificate", name]:
                server.certificate = (name, server.certificate[1])
            case ["ssl_certificate_key", name]:
                server.certificate = (server.certificate[0], name)
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
            case ["return" | "rewrite" | "error_page" | "try_files" | "autoindex", *_]:
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
        case ["alias", alias]:
            location.alias = alias
        case ["try_files", *names]:
            location.try_files = tuple(names)
        case ["rewrite", pattern, replacement, *flags]:
            try:
                location.rewrites.append(Rewrite(re.compile(pattern), replacement, flags[0] if flags else ""))
            except re.error:
                ignored[f"rewrite {pattern}"] = None
        case ["error_page", *statuses, uri]:
            instead = next((int(one[1:]) for one in statuses if re.fullmatch(r"=\d+", one)), None)
            location.error_pages.update({int(one): (instead, uri) for one in statuses if one.isdigit()})
        case ["stub_status", *_]:
            location.stub_status = True
        case ["autoindex", value]:
            location.autoindex = value == "on"
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
