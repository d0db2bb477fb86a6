"""Asking a container how it is: httpGet, tcpSocket and grpc over real sockets, from whichever context it runs in.

Stands for pkg/probe of Kubernetes, in its words. Run it in a task with the *node's* context: probes come from the node.
A thousand pods are probed all day, so plain requests use bare sockets and no streams: connect, send, receive, close.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from minikube_py.images.grpc_health import check as grpc_check

__all__ = ["ProbeErrored", "ProbeFailed", "grpc", "http_get", "port_number", "tcp_socket"]

_BODY_LIMIT = 10 * 1024
"""Kubernetes: maxRespBodyLength."""

_HEAD_LIMIT = 1 << 20
"""Go's net/http gives up on a longer header."""

_REDIRECTS = 10
"""Requests after which Go's http.Client gives up."""


class ProbeFailed(Exception):
    """The probe's answer is no; the message is what the event shows."""


class ProbeErrored(Exception):
    """The probe has no answer, which counts neither as success nor as failure; the event says why."""


def port_number(value: Any, container: Mapping[str, Any]) -> int:
    """Resolve a probe's port, which may be a name of the container's own ports.

    Error handling: ProbeErrored in the kubelet's words when there is no such name.
    """
    if isinstance(value, int) or str(value).isdigit():
        return int(value)
    for port in container.get("ports") or ():
        if port.get("name") == value:
            return int(port["containerPort"])
    raise ProbeErrored(f'strconv.Atoi: parsing "{value}": invalid syntax')


class _Connection(Protocol):
    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    def close(self) -> None: ...


class _Plain:
    """A TCP connection without streams."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setblocking(False)

    async def connect(self, host: str, port: int) -> None:
        await self._loop.sock_connect(self._sock, (host, port))

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        return await self._loop.sock_recv(self._sock, 65536)

    def close(self) -> None:
        self._sock.close()


class _Tls:
    """A TLS connection whose certificate nobody looks at, as with the kubelet's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self) -> bytes:
        return await self._reader.read(65536)

    def close(self) -> None:
        self._writer.close()


async def _dial(host: str, port: int, *, tls: bool = False) -> _Connection:
    """Connect; ProbeFailed says in Go's words why that doesn't work."""
    try:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return _Tls(*await asyncio.open_connection(host, port, ssl=context))
        connection = _Plain()
        try:
            await connection.connect(host, port)
        except BaseException:
            connection.close()
            raise
        return connection
    except ConnectionRefusedError:
        raise ProbeFailed(f"dial tcp {host}:{port}: connect: connection refused") from None
    except socket.gaierror:
        raise ProbeFailed(f"dial tcp: lookup {host}: no such host") from None
    except ssl.SSLError as error:
        plain = "WRONG_VERSION_NUMBER" in str(error) or "HTTP_REQUEST" in str(error)
        why = "http: server gave HTTP response to HTTPS client" if plain else f"tls: {error.reason or error}"
        raise ProbeFailed(why) from None
    except OSError as error:
        raise ProbeFailed(f"dial tcp {host}:{port}: connect: {(error.strerror or str(error)).lower()}") from None


async def tcp_socket(host: str, port: int, timeout: float) -> None:
    """Open and close a connection; ProbeFailed when that doesn't work within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            connection = await _dial(host, port)
    except TimeoutError:
        raise ProbeFailed(f"dial tcp {host}:{port}: i/o timeout") from None
    connection.close()


async def grpc(host: str, port: int, service: str, timeout: float) -> None:
    """Ask the health service; ProbeFailed unless it says SERVING within `timeout` seconds."""
    where = f'service "{host}:{port}"'
    connected = True
    try:
        async with asyncio.timeout(timeout):
            try:
                ok, message = await grpc_check(host, port, service)
            except OSError:  # grpc-go dials until its time is over
                connected = False
                await asyncio.Event().wait()
    except TimeoutError:
        if connected:
            raise ProbeFailed(f"timeout: health rpc did not complete within {timeout:g}s") from None
        raise ProbeFailed(
            f"timeout: failed to connect {where} within {timeout:g}s: context deadline exceeded"
        ) from None
    if not ok:
        raise ProbeFailed(message)


class _Answer:
    """An HTTP answer as far as it has come."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def complete(self) -> bool:
        """Whether all of it is here, or as much as anybody reads."""
        length = self.headers.get("content-length", "")
        if self.status in (204, 304):
            return True
        return len(self.body) >= (min(int(length), _BODY_LIMIT) if length.isdigit() else _BODY_LIMIT)

    @classmethod
    def parse(cls, data: bytes) -> "_Answer | None":
        """Return the answer once its header is complete; ProbeFailed if this is no HTTP."""
        if not re.match(rb"HTTP/1\.[01] [1-9]\d\d", data[:12]) and (len(data) >= 12 or b"\n" in data):
            line = data.split(b"\n", 1)[0].rstrip(b"\r")[:100].decode("latin-1")
            broken = "net/http: HTTP/1.x transport connection broken"
            raise ProbeFailed(f'{broken}: malformed HTTP response "{line}"')
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            if len(data) > _HEAD_LIMIT:
                raise ProbeFailed("net/http: server response headers exceeded 1048576 bytes; aborted")
            return None
        if data[9:10] == b"1":  # 100 Continue, 103 Early Hints: the answer is still to come
            return cls.parse(body) if body else None
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        return cls(int(data[9:12]), headers, body)


def _request(url: SplitResult, headers: Iterable[Mapping[str, Any]], agent: str) -> bytes:
    given = [(str(h["name"]), str(h.get("value", ""))) for h in headers]
    names = {name.lower() for name, _ in given}
    host = next((value for name, value in given if name.lower() == "host" and value), url.netloc)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    sent = [("Host", host)]
    sent += [(name, value) for name, value in (("User-Agent", agent), ("Accept", "*/*")) if name.lower() not in names]
    sent += [(name, value) for name, value in given if name.lower() != "host" and value]
    sent.append(("Connection", "close"))
    return "".join((f"GET {target} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in sent), "\r\n")).encode("utf-8")


class _Get:
    """A GET with its redirects, and how far it has come: what it means to be late depends on that."""

    def __init__(self, url: SplitResult, headers: Iterable[Mapping[str, Any]], agent: str) -> None:
        self.url = url
        self.where = url.netloc
        self._headers = headers
        self._agent = agent
        self._connected = False
        self._answer: _Answer | None = None

    async def follow(self) -> _Answer:
        """Return the answer, of a redirect on the same host that to which it leads."""
        host = self.url.hostname
        for _ in range(_REDIRECTS):
            answer = await self._exchange()
            location = answer.headers.get("location")
            if not location or answer.status not in (301, 302, 303, 307, 308):
                return answer
            target = urlsplit(urljoin(self.url.geturl(), location))
            if target.hostname != host:
                return answer
            self.url = target
        raise ProbeFailed(f"stopped after {_REDIRECTS} redirects")

    async def _exchange(self) -> _Answer:
        url, self._connected, self._answer = self.url, False, None
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        self.where = f"{host}:{port}"
        connection = await _dial(host, port, tls=url.scheme == "https")
        self._connected = True
        try:
            await connection.send(_request(url, self._headers, self._agent))
            data = b""
            while self._answer is None or not self._answer.complete:
                if not (more := await connection.receive()):
                    break
                data += more
                self._answer = _Answer.parse(data)
        finally:
            connection.close()
        if self._answer is None:
            raise ProbeFailed("EOF")
        return self._answer

    def late(self) -> ProbeFailed | ProbeErrored:
        """Return what it is called, in Go's words, that the time was over."""
        if self._answer is not None:
            return ProbeErrored("context deadline exceeded (Client.Timeout or context cancellation while reading body)")
        why = "context deadline exceeded" if self._connected else f"dial tcp {self.where}: i/o timeout"
        return ProbeFailed(f'Get "{self.url.geturl()}": {why} (Client.Timeout exceeded while awaiting headers)')


async def http_get(
    action: Mapping[str, Any],
    host: str,
    port: int,
    timeout: float | None,
    *,
    agent: str = "kube-probe/1.32",
    hook: bool = False,
) -> str:
    """Make the GET of a probe, following redirects on the same host; return a warning, or "".

    A redirect elsewhere is a success with a warning. A lifecycle `hook` is content with any answer at all.
    Error handling: ProbeFailed unless the status is 200 to 399; ProbeErrored when its body doesn't come to an end.
    """
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = str(action.get("path") or "/")
    url = urlsplit(f"{scheme}://{host}:{port}{path if path.startswith('/') else f'/{path}'}")
    get = _Get(url, action.get("httpHeaders") or (), agent)
    try:
        async with asyncio.timeout(timeout):
            answer = await get.follow()
    except TimeoutError:
        raise get.late() from None
    except ProbeFailed as failed:
        raise ProbeFailed(f'Get "{get.url.geturl()}": {failed}') from None
    except ConnectionError:
        why = f"read tcp {get.where}: read: connection reset by peer"
        raise ProbeFailed(f'Get "{get.url.geturl()}": {why}') from None
    if hook or 200 <= answer.status < 300:
        return ""
    if 300 <= answer.status < 400:
        body = answer.body[:_BODY_LIMIT].decode("utf-8", "replace")
        return f"Probe terminated redirects, Response body: {body}"
    raise ProbeFailed(f"HTTP probe failed with statuscode: {answer.status}")
