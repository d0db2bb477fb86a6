"""wget (busybox') and curl: HTTP from the pod, over h11, with the messages and exit codes of the real ones.

Leaves out: HTTP/2, FTP, cookies, multipart forms, proxies, wget -r.
"""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import connect, reason, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


@dataclass(slots=True)
class _Request:
    url: SplitResult
    method: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    insecure: bool = False
    authority: str = ""
    """Path of a CA file in the container."""
    address: str = ""
    """Where to connect instead of the URL's host (curl --resolve)."""

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def target(self) -> str:
        path = quote(self.url.path or "/", safe="/%:@!$&'()*+,;=~-._")
        return f"{path}?{quote(self.url.query, safe='/?%:@!$&()*+,;=~-._[]')}" if self.url.query else path


@dataclass(slots=True)
class _Response:
    status: int
    text: str
    version: str
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]
    peer: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class _Empty(Exception):
    """The server closed without an answer."""


class _Broken(Exception):
    """The answer is not HTTP, or ends too early."""


def split(text: str) -> SplitResult:
    """Read a URL as these tools do: the scheme may be missing; ValueError for nonsense."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    _ = url.port
    return url


async def exchange(
    p: Process, request: _Request, note: Callable[[str], Any], connected: Callable[[str, int], Any] | None = None
) -> tuple[_Response, asyncio.StreamWriter]:
    """Send a request and read the answer's head; the body is read by iterating.

    Error handling: OSError (gaierror), ssl.SSLError, _Empty, _Broken.
    """
    import h11

    started = time.monotonic()
    timings: dict[str, float] = {}
    context: ssl.SSLContext | None = None
    host = request.url.hostname or ""
    if request.url.scheme == "https":
        context = ssl.create_default_context()
        if request.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif request.authority:
            context.load_verify_locations(cadata=p.view.read(request.authority).decode())
    name = next((value for key, value in request.headers if key.lower() == "host"), "")
    reader, writer = await connect(request.address or host, request.port, context, server_hostname=host)
    timings["connect"] = time.monotonic() - started
    peer, port = writer.get_extra_info("peername")[:2]
    if connected is not None:
        connected(peer, request.port if port >= 20000 else port)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 << 10)
    headers = list(request.headers)
    if not name:
        default = {"http": 80, "https": 443}.get(request.url.scheme)
        bare = f"[{host}]" if ":" in host else host
        headers.insert(0, ("Host", bare if request.port == default else f"{bare}:{request.port}"))
    for key, value in headers:
        note(f"{key}: {value}")
    data = connection.send(h11.Request(method=request.method, target=request.target, headers=headers))
    assert data is not None
    if request.body:
        data += connection.send(h11.Data(data=request.body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    got = False

    async def event() -> Any:
        nonlocal got
        while (found := connection.next_event()) is h11.NEED_DATA:
            chunk = await reader.read(65536)
            if not chunk and not got:
                raise _Empty
            got = True
            connection.receive_data(chunk)
        return found

    try:
        writer.write(data)
        await writer.drain()
        head = await event()
        while isinstance(head, h11.InformationalResponse):
            head = await event()
        if not isinstance(head, h11.Response):
            raise _Empty
        timings["first"] = time.monotonic() - started
    except h11.RemoteProtocolError as error:
        writer.close()
        raise _Broken(str(error)) from None
    except BaseException:
        writer.close()
        raise

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                found = await event()
                if isinstance(found, h11.Data):
                    yield bytes(found.data)
                elif isinstance(found, (h11.EndOfMessage, h11.ConnectionClosed)):
                    return
        except (h11.RemoteProtocolError, _Empty) as error:
            raise _Broken(str(error)) from None

    shown = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in head.headers.raw_items()]
    version, text = head.http_version.decode(), head.reason.decode("latin-1")
    return _Response(head.status_code, text, version, shown, body(), peer, timings), writer


# wget

_WGET_LONG = {
    "spider": "spider",
    "server-response": "S",
    "quiet": "q",
    "output-document=": "O",
    "timeout=": "T",
    "header=": "header",
    "post-data=": "post",
    "post-file=": "post-file",
    "no-check-certificate": "insecure",
    "ca-certificate=": "ca",
    "user-agent=": "U",
    "tries=": "t",
    "no-verbose": "q",
    "directory-prefix=": "P",
    "continue": "c",
    "method=": "method",
    "body-data=": "post",
    "max-redirect=": "max",
    "max-redirs=": "max",
    "content-on-error": "content",
    "connect-timeout=": "T",
    "read-timeout=": "T",
    "no-proxy": "Y",
}


class _WgetError(Exception):
    pass


async def _wget(p: Process) -> int:
    options = read_options(p.args, "qO:ST:cP:U:t:Yno:4", _WGET_LONG)
    if not options.rest:
        raise UsageError("missing URL")
    seconds = options.number("T", 900)
    tries = max(int(options.number("t", 1)), 1)
    code = 0
    for url in options.rest:
        for attempt in range(tries):
            try:
                await _download(p, options, url, seconds)
                break
            except _WgetError as error:
                if attempt == tries - 1:
                    await p.err(f"wget: {error}\n")
                    code = 1
            except TimeoutError:
                if attempt == tries - 1:
                    await p.err("wget: download timed out\n")
                    code = 1
    return code


async def _download(p: Process, options: Any, text: str, seconds: float) -> None:
    quiet = "q" in options
    try:
        url = split(text)
    except ValueError:
        raise _WgetError(f"bad address '{text}'") from None
    if url.scheme not in ("http", "https"):
        raise _WgetError(f"not an http or ftp url: {text}")
    body = options.get("post").encode()
    if "post-file" in options:
        body = p.view.read(options.get("post-file"))
    posting = "post" in options or "post-file" in options
    method = options.get("method") or ("POST" if posting else "HEAD" if "spider" in options else "GET")
    for _ in range(int(options.number("max", 10)) + 1):
        headers = [("User-Agent", options.get("U", "Wget")), ("Connection", "close")]
        if url.username:
            headers.append(("Authorization", _basic(f"{url.username}:{url.password or ''}")))
        if posting:
            headers += [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(body)))]
        for line in options.all("header"):
            key, _, value = line.partition(":")
            headers = [(k, v) for k, v in headers if k.lower() != key.strip().lower()]
            headers.append((key.strip(), value.strip()))
        insecure = "insecure" in options or "ca" not in options  # busybox' wget doesn't check certificates
        request = _Request(url, method, headers, body, insecure, options.get("ca"))

        where: list[str] = []

        def connected(peer: str, port: int, where: list[str] = where) -> None:
            where.append(f"{peer}:{port}")

        try:
            async with asyncio.timeout(seconds or None):
                if not quiet:
                    await p.err(f"Connecting to {url.hostname}:{request.port} ")
                response, writer = await exchange(p, request, lambda line: None, connected)
        except _Empty:
            raise _WgetError("error getting response") from None
        except _Broken:
            raise _WgetError("error getting response: Invalid argument") from None
        except ssl.SSLError:
            raise _WgetError("TLS error from peer (alert code 40): handshake failure") from None
        except TimeoutError:
            if not quiet:
                await p.err("\n")
            raise
        except OSError as error:
            if not quiet:
                await p.err("\n")
            kind = reason(error)
            if kind == "name":
                raise _WgetError(f"bad address '{url.netloc.rpartition('@')[2]}'") from None
            shown = await _address(f"{url.hostname}")
            raise _WgetError(f"can't connect to remote host ({shown}): {why_not(error)}") from None
        try:
            if not quiet:
                await p.err(f"({where[0] if where else ''})\n")
            if "S" in options:
                await p.err(f"  HTTP/{response.version} {response.status} {response.text}\n")
                for key, value in response.headers:
                    await p.err(f"  {key}: {value}\n")
            if response.status in (301, 302, 303, 307, 308) and response.header("location"):
                url = split(urljoin(url.geturl(), response.header("location")))
                continue
            if response.status >= 300:
                if "content" in options:
                    async for chunk in response.body:
                        await p.out(chunk)
                raise _WgetError(f"server returned error: HTTP/{response.version} {response.status} {response.text}")
            if "spider" in options:
                if not quiet:
                    await p.err("remote file exists\n")
                return
            async with asyncio.timeout(seconds or None):
                await _save(p, options, url, response)
            return
        except _Broken:
            raise _WgetError("connection closed prematurely") from None
        finally:
            writer.close()
    raise _WgetError("too many redirections")


async def _address(host: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
        return str(found[0][4][0])
    except OSError:
        return host


async def _save(p: Process, options: Any, url: SplitResult, response: _Response) -> None:
    quiet = "q" in options
    name = options.get("O") or url.path.rstrip("/").rpartition("/")[2] or "index.html"
    total = 0
    if name == "-":
        async for chunk in response.body:
            await p.out(chunk)
            total += len(chunk)
        if not quiet:
            await p.err("writing to stdout\n")
    else:
        if "P" in options and "O" not in options:
            name = f"{options.get('P').rstrip('/')}/{name}"
        try:
            sink = p.view.sink(name)
        except OSError as error:
            raise _WgetError(f"can't open '{name}': {error.strerror}") from None
        if not quiet:
            await p.err(f"saving to '{name}'\n")
        async for chunk in response.body:
            await sink.write(chunk)
            total += len(chunk)
    if not quiet:
        shown = name[-20:]
        await p.err(f"{shown:<20} 100% |{'*' * 32}|{total:6d}  0:00:00 ETA\n")
        await p.err("written to stdout\n" if name == "-" else f"'{name}' saved\n")


def _basic(pair: str) -> str:
    import base64

    return "Basic " + base64.b64encode(pair.encode()).decode()


# curl

_CURL_LONG = {
    "silent": "s",
    "show-error": "S",
    "fail": "f",
    "fail-with-body": "fail-with-body",
    "include": "i",
    "head": "I",
    "output=": "o",
    "remote-name": "O",
    "write-out=": "w",
    "header=": "H",
    "request=": "X",
    "data=": "d",
    "data-raw=": "data-raw",
    "data-binary=": "data-binary",
    "data-urlencode=": "data-urlencode",
    "json=": "json",
    "insecure": "k",
    "location": "L",
    "max-time=": "m",
    "connect-timeout=": "connect-timeout",
    "resolve=": "resolve",
    "verbose": "v",
    "user=": "u",
    "user-agent=": "A",
    "referer=": "e",
    "get": "G",
    "retry=": "retry",
    "retry-delay=": "retry-delay",
    "retry-connrefused": "retry-connrefused",
    "retry-all-errors": "retry-all-errors",
    "retry-max-time=": "retry-max-time",
    "cacert=": "cacert",
    "max-redirs=": "max-redirs",
    "no-progress-meter": "s",
    "progress-bar": "s",
    "compressed": "compressed",
    "http1.1": "http1.1",
    "http1.0": "http1.0",
    "ipv4": "4",
    "no-buffer": "N",
    "url=": "url",
    "dump-header=": "D",
    "upload-file=": "T",
    "noproxy=": "noproxy",
    "no-keepalive": "nk",
    "cookie=": "b",
    "globoff": "g",
    "connect-to=": "connect-to",
    "parallel": "parallel",
    "path-as-is": "path-as-is",
    "version": "V",
    "oauth2-bearer=": "bearer",
}


class _CurlError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def _curl(p: Process) -> int:
    try:
        options = read_options(p.args, "sSfiIo:Ow:H:X:d:kLm:vu:A:e:G4NgT:D:b:V0j:#q", _CURL_LONG, code=2)
    except UsageError as error:
        match = re.fullmatch(r"(unrecognized option|option requires an argument): (.*)", str(error))
        name = "" if match is None else ("-" if len(match[2]) == 1 else "--") + match[2]
        what = "is unknown" if match is not None and "unrecognized" in match[1] else "requires parameter"
        await p.err(f"curl: option {name}: {what}\ncurl: try 'curl --help' for more information\n")
        return 2
    if "V" in options:
        await p.out("curl 8.10.1 (minikube-py's built-in) libcurl/8.10.1\nProtocols: http https\nFeatures: SSL\n")
        return 0
    urls = [*options.all("url"), *options.rest]
    if not urls:
        await p.err("curl: (2) no URL specified\ncurl: try 'curl --help' or 'curl --manual' for more information\n")
        return 2
    code = 0
    for index, url in enumerate(urls):
        for one in _ranges(url) if "g" not in options else [url]:
            output = options.all("o")[min(index, len(options.all("o")) - 1)] if "o" in options else ""
            code = await _transfer(p, options, one, output)
    return code


def _ranges(url: str) -> list[str]:
    """Expand curl's own globbing: `[1-10]` and `{a,b}`."""
    if match := re.search(r"\[(\d+)-(\d+)\]", url):
        return [
            more
            for number in range(int(match[1]), int(match[2]) + 1)
            for more in _ranges(url[: match.start()] + str(number) + url[match.end() :])
        ]
    if match := re.search(r"\{([^{}]*,[^{}]*)\}", url):
        return [
            more for word in match[1].split(",") for more in _ranges(url[: match.start()] + word + url[match.end() :])
        ]
    return [url]


async def _transfer(p: Process, options: Any, url: str, output: str) -> int:
    retries = int(options.number("retry", 0))
    delay = options.number("retry-delay", 1)
    facts: dict[str, Any] = {}
    for attempt in range(retries + 1):
        started = time.monotonic()
        facts = {"url": url, "http_code": "000", "size_download": 0, "num_redirects": 0, "connect": 0.0, "first": 0.0}
        code, message = 0, ""
        try:
            async with asyncio.timeout(options.number("m", 0) or None):
                await _perform(p, options, url, output, facts)
        except _CurlError as error:
            code, message = error.code, str(error)
        except TimeoutError:
            spent = round((time.monotonic() - started) * 1000)
            size = facts["size_download"]
            message = f"Operation timed out after {spent} milliseconds with {size} bytes received"
            if not facts["connect"]:
                message = f"Connection timed out after {spent} milliseconds"
            code = 28
        facts["total"] = time.monotonic() - started
        facts["exitcode"] = code
        again = (
            code in (28, 6)
            or (code == 7 and "retry-connrefused" in options)
            or (code and "retry-all-errors" in options)
        )
        again = again or (not code and facts["http_code"] in ("408", "429", "500", "502", "503", "504"))
        if not again or attempt == retries:
            break
        await asyncio.sleep(delay)
    if code and ("s" not in options or "S" in options):
        await p.err(f"curl: ({code}) {message}\n")
    if "w" in options:
        await p.out(_write_out(options.get("w"), facts))
    return code


def _write_out(template: str, facts: dict[str, Any]) -> str:
    values = {
        "http_code": facts["http_code"],
        "response_code": facts["http_code"],
        "size_download": str(facts["size_download"]),
        "time_total": f"{facts['total']:.6f}",
        "time_connect": f"{facts['connect']:.6f}",
        "time_starttransfer": f"{facts['first']:.6f}",
        "time_namelookup": f"{min(facts['connect'], facts['total']) / 2:.6f}",
        "time_appconnect": "0.000000",
        "remote_ip": facts.get("peer", ""),
        "remote_port": str(facts.get("port", 0)),
        "url_effective": facts["url"],
        "url": facts["url"],
        "num_redirects": str(facts["num_redirects"]),
        "content_type": facts.get("content_type", ""),
        "redirect_url": facts.get("redirect", ""),
        "exitcode": str(facts["exitcode"]),
        "http_version": facts.get("version", "0"),
        "method": facts.get("method", "GET"),
        "scheme": facts.get("scheme", ""),
        "errormsg": "",
    }
    text = template.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
    return re.sub(r"%\{(\w+)\}|%(%)", lambda m: "%" if m[2] else values.get(m[1], ""), text)


async def _request_of(p: Process, options: Any, url: SplitResult) -> _Request:
    pieces: list[bytes] = []
    for key in ("d", "data-raw", "data-binary", "data-urlencode", "json"):
        for text in options.all(key):
            if key == "data-urlencode":
                name, equals, value = text.partition("=")
                pieces.append(f"{name}={quote(value, safe='')}".encode() if equals else quote(text, safe="").encode())
            elif text.startswith("@") and key != "data-raw":
                data = await p.source(text[1:]).rest()
                pieces.append(data if key == "data-binary" else data.replace(b"\r", b"").replace(b"\n", b""))
            else:
                pieces.append(text.encode())
    posting = bool(pieces)
    body = b"&".join(pieces)
    if "G" in options and posting:
        query = "&".join(filter(None, (url.query, body.decode())))
        url, body, posting = url._replace(query=query), b"", False
    if "T" in options:
        body = await p.source(options.get("T")).rest()
    method = options.get("X") or (
        "HEAD" if "I" in options else "PUT" if "T" in options else "POST" if posting else "GET"
    )
    headers = [("User-Agent", options.get("A", "curl/8.10.1")), ("Accept", "*/*")]
    if "u" in options or url.username:
        headers.insert(0, ("Authorization", _basic(options.get("u") or f"{url.username}:{url.password or ''}")))
    if "bearer" in options:
        headers.append(("Authorization", f"Bearer {options.get('bearer')}"))
    if "e" in options:
        headers.append(("Referer", options.get("e")))
    if "b" in options:
        headers.append(("Cookie", options.get("b")))
    if posting or "T" in options:
        headers.append(("Content-Length", str(len(body))))
    if posting:
        kind = "application/json" if "json" in options else "application/x-www-form-urlencoded"
        headers.append(("Content-Type", kind))
    for line in options.all("H"):
        key, colon, value = line.partition(":" if ":" in line else ";")
        headers = [(k, v) for k, v in headers if k.lower() != key.strip().lower()]
        if colon and (value.strip() or ";" in line):
            headers.append((key.strip(), value.strip()))
    return _Request(url, method, headers, body, "k" in options, options.get("cacert"))


async def _perform(p: Process, options: Any, text: str, output: str, facts: dict[str, Any]) -> None:
    try:
        url = split(text)
    except ValueError:
        raise _CurlError(3, "URL rejected: Port number was not a decimal number between 0 and 65535") from None
    if url.scheme not in ("http", "https"):
        raise _CurlError(1, f'Protocol "{url.scheme}" not supported')
    if not url.hostname or " " in text:
        raise _CurlError(
            3,
            "URL rejected: No host part in the URL"
            if not url.hostname
            else "URL rejected: Malformed input to a URL function",
        )
    limit = int(options.number("max-redirs", 50))
    request = await _request_of(p, options, url)
    while True:
        response, writer = await _connected(p, options, request, facts)
        try:
            location = response.header("location")
            if "L" in options and response.status in (301, 302, 303, 307, 308) and location:
                if "i" in options or "I" in options:
                    await p.out(_head(response))
                facts["num_redirects"] += 1
                if facts["num_redirects"] > limit:
                    raise _CurlError(47, f"Maximum ({limit}) redirects followed")
                request.url = split(urljoin(request.url.geturl(), location))
                facts["url"] = request.url.geturl()
                if response.status in (301, 302, 303) and request.method == "POST" and "X" not in options:
                    request.method, request.body = "GET", b""
                    drop = ("content-length", "content-type")
                    request.headers = [(k, v) for k, v in request.headers if k.lower() not in drop]
                continue
            if location:
                facts["redirect"] = urljoin(request.url.geturl(), location)
            await _receive(p, options, request, response, output, facts)
            return
        finally:
            writer.close()


async def _connected(
    p: Process, options: Any, request: _Request, facts: dict[str, Any]
) -> tuple[_Response, asyncio.StreamWriter]:
    verbose: list[str] = []
    host = request.url.hostname or ""
    request.address = ""
    for rule in options.all("resolve"):
        name, port, address = rule.lstrip("+").split(":", 2)
        if name in (host, "*") and int(port) == request.port:
            request.address = address
    for rule in options.all("connect-to"):
        name, port, other, other_port = rule.split(":", 3)
        if name in ("", host) and port in ("", str(request.port)):
            request.address = other or host
            if other_port:
                key = f"{host}:{request.port}" if request.url.port else host
                request.headers = [("Host", key), *[(k, v) for k, v in request.headers if k.lower() != "host"]]
                request.url = request.url._replace(netloc=f"{host}:{other_port}")
    facts.update(method=request.method, scheme=request.url.scheme)
    started = time.monotonic()
    seconds = options.number("connect-timeout", 0)
    connecting = True

    def connected(peer: str, port: int) -> None:
        nonlocal connecting
        connecting = False
        facts.update(peer=peer, port=port, connect=time.monotonic() - started)
        if timer is not None:
            timer.reschedule(None)

    timer: asyncio.Timeout | None = None
    try:
        async with asyncio.timeout(seconds or None) as timer:
            response, writer = await exchange(p, request, verbose.append, connected)
    except TimeoutError:
        spent = round((time.monotonic() - started) * 1000)
        if connecting and seconds:
            raise _CurlError(28, f"Connection timed out after {spent} milliseconds") from None
        raise
    except _Empty:
        raise _CurlError(52, "Empty reply from server") from None
    except _Broken:
        raise _CurlError(1, "Received HTTP/0.9 when not allowed") from None
    except ssl.SSLCertVerificationError as error:
        what = {18: "self-signed certificate", 19: "self-signed certificate in certificate chain"}.get(
            error.verify_code, error.verify_message
        )
        raise _CurlError(
            60, f"SSL certificate problem: {what}\nMore details here: https://curl.se/docs/sslcerts.html"
        ) from None
    except ssl.SSLError as error:
        raise _CurlError(35, f"TLS connect error: {error.reason or error}") from None
    except OSError as error:
        spent = round((time.monotonic() - started) * 1000)
        if reason(error) == "name":
            raise _CurlError(6, f"Could not resolve host: {host}") from None
        if not connecting:
            raise _CurlError(56, f"Recv failure: {why_not(error)}") from None
        raise _CurlError(
            7, f"Failed to connect to {host} port {request.port} after {spent} ms: Could not connect to server"
        ) from None
    facts.update(
        http_code=f"{response.status:03d}",
        version=response.version,
        content_type=response.header("content-type"),
        first=response.timings["first"],
    )
    if "v" in options:
        await p.err(f"* Connected to {host} ({facts['peer']}) port {request.port}\n")
        await p.err(f"> {request.method} {request.target} HTTP/1.1\n")
        await p.err("".join(f"> {line}\n" for line in verbose) + "> \n")
        await p.err("".join(f"< {line}\n" for line in _head(response).split("\r\n")[:-2]) + "< \n")
    return response, writer


def _head(response: _Response) -> str:
    lines = "".join(f"{key}: {value}\r\n" for key, value in response.headers)
    return f"HTTP/{response.version} {response.status} {response.text}\r\n{lines}\r\n"


async def _receive(
    p: Process, options: Any, request: _Request, response: _Response, output: str, facts: dict[str, Any]
) -> None:
    failing = response.status >= 400 and ("f" in options or "fail-with-body" in options)
    if "D" in options:
        p.view.write(options.get("D"), _head(response).encode())
    sink = p.stdout
    name = output or (request.url.path.rpartition("/")[2] if "O" in options else "")
    if name and name != "-" and not (failing and "f" in options):
        try:
            sink = p.view.sink(name)
        except OSError as error:
            raise _CurlError(23, f"Failed to open the file {name}: {error.strerror}") from None
    if "i" in options or "I" in options:
        await sink.write(_head(response).encode())
    if failing and "f" in options:
        raise _CurlError(22, f"The requested URL returned error: {response.status}")
    try:
        async for chunk in response.body:
            facts["size_download"] += len(chunk)
            await sink.write(chunk)
    except _Broken:
        left = response.header("content-length")
        what = f"end of response with {int(left) - facts['size_download']} bytes missing" if left else "transfer closed"
        raise _CurlError(18, what) from None
    except ConnectionError:
        raise _CurlError(56, "Recv failure: Connection reset by peer") from None
    if failing:
        raise _CurlError(22, f"The requested URL returned error: {response.status}")


TOOLS: dict[str, Tool] = {"wget": _wget, "curl": _curl}
