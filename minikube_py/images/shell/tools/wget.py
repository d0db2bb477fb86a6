"""wget: busybox', with its messages and exit codes.

Leaves out: FTP, proxies, -r, -c's resuming. Certificates are checked only where --ca-certificate is given.
"""

import asyncio
import ssl
from typing import Any
from urllib.parse import SplitResult, urljoin

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.exchange import (
    BrokenAnswer,
    NoAnswer,
    Request,
    Response,
    basic_auth,
    exchange,
    split,
)
from minikube_py.images.shell.tools.network import reason, shown_address, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


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
            headers.append(("Authorization", basic_auth(f"{url.username}:{url.password or ''}")))
        if posting:
            headers += [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(body)))]
        for line in options.all("header"):
            key, _, value = line.partition(":")
            headers = [(k, v) for k, v in headers if k.lower() != key.strip().lower()]
            headers.append((key.strip(), value.strip()))
        insecure = "insecure" in options or "ca" not in options  # busybox' wget doesn't check certificates
        request = Request(url, method, headers, body, insecure, options.get("ca"))

        where: list[str] = []

        def connected(peer: str, port: int, where: list[str] = where) -> None:
            where.append(f"{peer}:{port}")

        try:
            async with asyncio.timeout(seconds or None):
                if not quiet:
                    await p.err(f"Connecting to {url.hostname}:{request.port} ")
                response, writer = await exchange(p, request, lambda line: None, connected)
        except NoAnswer:
            raise _WgetError("error getting response") from None
        except BrokenAnswer:
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
            shown = await shown_address(f"{url.hostname}")
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
        except BrokenAnswer:
            raise _WgetError("connection closed prematurely") from None
        finally:
            writer.close()
    raise _WgetError("too many redirections")


async def _save(p: Process, options: Any, url: SplitResult, response: Response) -> None:
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


TOOLS: dict[str, Tool] = {"wget": _wget}
