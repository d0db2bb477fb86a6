"""curl: transfers, retries and redirects, with the messages and exit codes of the real one.

Leaves out: HTTP/2, FTP, cookie jars, multipart forms, proxies. --parallel is accepted and done one after the other.
"""

import asyncio
import re
import ssl
import time
from typing import Any
from urllib.parse import urljoin

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.curl_request import LONG_OPTIONS, SHORT_OPTIONS, expand_globs, request_of, write_out
from minikube_py.images.shell.tools.exchange import (
    BrokenAnswer,
    NoAnswer,
    Request,
    Response,
    exchange,
    split,
)
from minikube_py.images.shell.tools.network import reason, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


class CurlError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def _curl(p: Process) -> int:
    try:
        options = read_options(p.args, SHORT_OPTIONS, LONG_OPTIONS, code=2)
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
        for one in expand_globs(url) if "g" not in options else [url]:
            output = options.all("o")[min(index, len(options.all("o")) - 1)] if "o" in options else ""
            code = await _transfer(p, options, one, output)
    return code


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
        except CurlError as error:
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
        await p.out(write_out(options.get("w"), facts))
    return code


async def _perform(p: Process, options: Any, text: str, output: str, facts: dict[str, Any]) -> None:
    try:
        url = split(text)
    except ValueError:
        raise CurlError(3, "URL rejected: Port number was not a decimal number between 0 and 65535") from None
    if url.scheme not in ("http", "https"):
        raise CurlError(1, f'Protocol "{url.scheme}" not supported')
    if not url.hostname or " " in text:
        raise CurlError(
            3,
            "URL rejected: No host part in the URL"
            if not url.hostname
            else "URL rejected: Malformed input to a URL function",
        )
    limit = int(options.number("max-redirs", 50))
    request = await request_of(p, options, url)
    while True:
        response, writer = await _connected(p, options, request, facts)
        try:
            location = response.header("location")
            if "L" in options and response.status in (301, 302, 303, 307, 308) and location:
                if "i" in options or "I" in options:
                    await p.out(head_text(response))
                facts["num_redirects"] += 1
                if facts["num_redirects"] > limit:
                    raise CurlError(47, f"Maximum ({limit}) redirects followed")
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
    p: Process, options: Any, request: Request, facts: dict[str, Any]
) -> tuple[Response, asyncio.StreamWriter]:
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
            raise CurlError(28, f"Connection timed out after {spent} milliseconds") from None
        raise
    except NoAnswer:
        raise CurlError(52, "Empty reply from server") from None
    except BrokenAnswer:
        raise CurlError(1, "Received HTTP/0.9 when not allowed") from None
    except ssl.SSLCertVerificationError as error:
        what = {18: "self-signed certificate", 19: "self-signed certificate in certificate chain"}.get(
            error.verify_code, error.verify_message
        )
        raise CurlError(
            60, f"SSL certificate problem: {what}\nMore details here: https://curl.se/docs/sslcerts.html"
        ) from None
    except ssl.SSLError as error:
        raise CurlError(35, f"TLS connect error: {error.reason or error}") from None
    except OSError as error:
        spent = round((time.monotonic() - started) * 1000)
        if reason(error) == "name":
            raise CurlError(6, f"Could not resolve host: {host}") from None
        if not connecting:
            raise CurlError(56, f"Recv failure: {why_not(error)}") from None
        raise CurlError(
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
        await p.err("".join(f"< {line}\n" for line in head_text(response).split("\r\n")[:-2]) + "< \n")
    return response, writer


def head_text(response: Response) -> str:
    lines = "".join(f"{key}: {value}\r\n" for key, value in response.headers)
    return f"HTTP/{response.version} {response.status} {response.text}\r\n{lines}\r\n"


async def _receive(
    p: Process, options: Any, request: Request, response: Response, output: str, facts: dict[str, Any]
) -> None:
    failing = response.status >= 400 and ("f" in options or "fail-with-body" in options)
    if "D" in options:
        p.view.write(options.get("D"), head_text(response).encode())
    sink = p.stdout
    name = output or (request.url.path.rpartition("/")[2] if "O" in options else "")
    if name and name != "-" and not (failing and "f" in options):
        try:
            sink = p.view.sink(name)
        except OSError as error:
            raise CurlError(23, f"Failed to open the file {name}: {error.strerror}") from None
    if "i" in options or "I" in options:
        await sink.write(head_text(response).encode())
    if failing and "f" in options:
        raise CurlError(22, f"The requested URL returned error: {response.status}")
    try:
        async for chunk in response.body:
            facts["size_download"] += len(chunk)
            await sink.write(chunk)
    except BrokenAnswer:
        left = response.header("content-length")
        what = f"end of response with {int(left) - facts['size_download']} bytes missing" if left else "transfer closed"
        raise CurlError(18, what) from None
    except ConnectionError:
        raise CurlError(56, "Recv failure: Connection reset by peer") from None
    if failing:
        raise CurlError(22, f"The requested URL returned error: {response.status}")


TOOLS: dict[str, Tool] = {"curl": _curl}
