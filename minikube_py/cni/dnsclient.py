"""Sending DNS messages and getting the replies, on an event loop or from a plain thread.

The asyncio functions open their sockets through the running loop, so that inside a pod's context the pod's address
and policies apply; `source` binds another address explicitly. The blocking ones open plain sockets.

Resource handling: each call opens what it needs and closes it, however it ends.
"""

import asyncio
import select
import socket
import time
from collections.abc import Sequence

from minikube_py.aiokit.clock import Clock, LoopClock
from minikube_py.cni.dnswire import WireError, read_reply

__all__ = ["Address", "tcp", "tcp_blocking", "udp", "udp_blocking"]

Address = tuple[str, int]


class _Waiting(asyncio.DatagramProtocol):
    """Collects the replies to some queries sent from one socket."""

    def __init__(self, questions: Sequence[bytes], done: asyncio.Future[None]) -> None:
        self.questions = questions
        self.replies: list[bytes | None] = [None] * len(questions)
        self.done = done

    def datagram_received(self, data: bytes, addr: object) -> None:
        _collect(data, self.questions, self.replies)
        if None not in self.replies and not self.done.done():
            self.done.set_result(None)

    def error_received(self, exc: Exception) -> None:
        # ICMP port unreachable: nobody listens, so waiting is pointless (glibc goes on at once, too).
        if not self.done.done():
            self.done.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the socket was closed"))


def _collect(data: bytes, questions: Sequence[bytes], replies: list[bytes | None]) -> None:
    for index, question in enumerate(questions):
        try:
            if replies[index] is None and read_reply(data, question) is not None:
                replies[index] = data
        except WireError:
            continue  # broken, or forged: the real one may still come


async def udp(
    questions: Sequence[bytes],
    server: Address,
    *,
    timeout: float,
    source: str = "",
    clock: Clock | None = None,
) -> list[bytes | None]:
    """Send `questions` from one socket; return their replies, None for each that did not come within `timeout` seconds.

    Error handling: OSError when the server refuses (ConnectionRefusedError) or is unreachable.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    done.add_done_callback(lambda done: done.cancelled() or done.exception())  # who is cancelled doesn't ask for it
    transport, waiting = await loop.create_datagram_endpoint(
        lambda: _Waiting(questions, done),
        remote_addr=server,
        local_addr=(source, 0) if source else None,
    )

    def give_up() -> None:
        if not done.done():
            done.set_result(None)

    timer = (clock or LoopClock()).call_later(timeout, give_up)
    try:
        for question in questions:
            transport.sendto(question)
        await done
    except ConnectionError:
        if not any(waiting.replies):
            raise
    finally:
        timer.cancel()
        done.cancel()
        transport.close()
    return waiting.replies


async def tcp(
    question: bytes, server: Address, *, timeout: float, source: str = "", clock: Clock | None = None
) -> bytes:
    """Ask over TCP (two bytes of length before each message, RFC 1035 §4.2.2).

    Error handling: OSError, TimeoutError, WireError for what is not a reply.
    """
    task = asyncio.ensure_future(_tcp(question, server, source))
    timer = (clock or LoopClock()).call_later(timeout, lambda: task.cancel("timeout"))
    try:
        return await task
    except asyncio.CancelledError as error:
        if error.args == ("timeout",):
            raise TimeoutError(f"{server[0]}:{server[1]} did not answer over TCP within {timeout:g} s") from None
        task.cancel()
        raise
    finally:
        timer.cancel()


async def _tcp(question: bytes, server: Address, source: str) -> bytes:
    reader, writer = await asyncio.open_connection(*server, local_addr=(source, 0) if source else None)
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        await writer.drain()
        size = int.from_bytes(await reader.readexactly(2), "big")
        data = await reader.readexactly(size)
    except asyncio.IncompleteReadError:
        raise ConnectionResetError(f"{server[0]}:{server[1]} closed the connection without an answer") from None
    finally:
        writer.close()
    return _checked(data, question, server)


def _checked(data: bytes, question: bytes, server: Address) -> bytes:
    if read_reply(data, question) is None:
        raise WireError(f"{server[0]}:{server[1]} answered another question")
    return data


def udp_blocking(
    questions: Sequence[bytes], server: Address, *, timeout: float, source: str = ""
) -> list[bytes | None]:
    """Do what `udp` does, from a plain thread."""
    replies: list[bytes | None] = [None] * len(questions)
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if source:
            sock.bind((source, 0))
        sock.connect(server)
        sock.setblocking(False)
        for question in questions:
            sock.send(question)
        while None in replies and (left := deadline - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            try:
                _collect(sock.recv(65535), questions, replies)
            except BlockingIOError:
                continue
            except ConnectionError:
                if not any(replies):
                    raise
                break
    return replies


def tcp_blocking(question: bytes, server: Address, *, timeout: float, source: str = "") -> bytes:
    """Do what `tcp` does, from a plain thread."""
    deadline = time.monotonic() + timeout
    with socket.create_connection(server, timeout, (source, 0) if source else None) as sock:
        sock.sendall(len(question).to_bytes(2, "big") + question)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (chunk := sock.recv(65537)):
                raise ConnectionResetError(f"{server[0]}:{server[1]} closed the connection without an answer")
            data += chunk
    return _checked(data[2 : 2 + int.from_bytes(data[:2], "big")], question, server)
