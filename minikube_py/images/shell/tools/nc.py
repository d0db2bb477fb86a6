"""nc, ncat and telnet: a connection, a port scan or a listener, as the pod.

Leaves out: nc's proxies and IPv6, ncat's TLS and limits, telnet's option negotiation.
"""

import asyncio
import errno
import shlex
from typing import Any

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.streams import EMPTY, Source
from minikube_py.images.shell.tools.network import connect, reason, shown_address, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _pump(source: Source, writer: asyncio.StreamWriter) -> None:
    """Send stdin; its end is the end of the sending side."""
    while data := await source.read():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _drain(p: Process, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(65536):
        await p.out(data)


async def _talk(
    p: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float | None, quit_at_end: bool
) -> None:
    """Carry both directions until the other side ends."""
    sending = asyncio.ensure_future(_pump(p.stdin, writer))
    receiving = asyncio.ensure_future(_drain(p, reader))
    try:
        async with asyncio.timeout(idle):
            if quit_at_end:
                await sending
                await asyncio.wait((receiving,), timeout=1.0)
            else:
                await receiving
    except (TimeoutError, ConnectionError):
        pass
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        writer.close()


def _ports(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        return list(range(int(first), int(last) + 1)) if dash else [int(first)]
    except ValueError:
        raise UsageError(f"port number invalid: {text}") from None


_NCAT = {
    **{"listen": "l", "keep-open": "k", "max-conns=": "m", "udp": "u", "exec=": "e", "sh-exec=": "c", "wait=": "w"},
    **{
        "send-only": "send",
        "recv-only": "recv",
        "verbose": "v",
        "source=": "s",
        "source-port=": "p",
        "idle-timeout=": "i",
    },
}
"""ncat's long options."""


async def _nc(p: Process) -> int:
    options = read_options(p.args, "zvw:ulp:nke:q:Ni:s:46tW:c:Cm:", _NCAT)
    if "c" in options:  # a line for the shell
        options.values["e"] = [f"sh -c {shlex.quote(options.get('c'))}"]
    if "recv" in options:
        p.stdin = EMPTY
    wait = options.number("w", 0) or None
    if "l" in options:
        port = options.get("p") or (options.rest[-1] if options.rest else "")
        if not port:
            raise UsageError("usage: nc -l -p PORT")
        return await _serve(p, _ports(port)[0], udp="u" in options, keep="k" in options, program=options.get("e"))
    if len(options.rest) < 2:
        raise UsageError("usage: nc [-zvu] [-w SEC] HOST PORT")
    host, status = options.rest[0], 1
    for number in _ports(options.rest[1]):
        status = min(status, await _nc_call(p, host, number, options, wait))
    return status


async def _nc_call(p: Process, host: str, port: int, options: Any, wait: float | None) -> int:
    said = f"{host} ({await shown_address(host)}:{port})"
    if "u" in options:
        return await _nc_udp(p, host, port, options, wait, said)
    try:
        async with asyncio.timeout(wait):
            reader, writer = await connect(host, port)
    except TimeoutError:
        await p.err(f"nc: {said}: Connection timed out\n" if "v" in options or "z" not in options else "")
        return 1
    except OSError as error:
        if reason(error) == "name":
            await p.err(f"nc: bad address '{host}'\n")
        elif "v" in options or "z" not in options:
            await p.err(f"nc: {said}: {why_not(error)}\n")
        return 1
    if "v" in options:
        await p.err(f"{said} open\n")
    if "z" in options:
        writer.close()
        return 0
    await _talk(p, reader, writer, wait, "N" in options or "q" in options)
    return 0


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[bytes, Any] | Exception] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.queue.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.queue.put_nowait(exc)


async def _nc_udp(p: Process, host: str, port: int, options: Any, wait: float | None, said: str) -> int:
    try:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=(host, port))
    except OSError as error:
        await p.err(f"nc: bad address '{host}'\n" if reason(error) == "name" else f"nc: {said}: {why_not(error)}\n")
        return 1
    try:
        if "z" in options:
            transport.sendto(b"X")
            try:
                async with asyncio.timeout(wait or 1):
                    if isinstance(await protocol.queue.get(), Exception):
                        return 1
            except TimeoutError:
                pass  # silence: open, as far as UDP can tell
            if "v" in options:
                await p.err(f"{said} open\n")
            return 0
        while line := await p.stdin.line():
            transport.sendto(line)
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(wait or 1):
                while True:
                    got = await protocol.queue.get()
                    if isinstance(got, Exception):
                        return 1
                    await p.out(got[0])
        except TimeoutError:
            return 0
    finally:
        transport.close()


async def _serve(p: Process, port: int, *, udp: bool, keep: bool, program: str) -> int:
    """Listen: one connection, or with `keep` one after the other."""
    loop = asyncio.get_running_loop()
    if udp:
        transport, protocol = await loop.create_datagram_endpoint(_Datagrams, local_addr=("0.0.0.0", port))
        try:
            while True:
                got = await protocol.queue.get()
                if isinstance(got, Exception):
                    continue
                await p.out(got[0])
                reply = await p.stdin.line() if p.stdin else b""
                if reply:
                    transport.sendto(reply, got[1])
                if not keep:
                    return 0
        finally:
            transport.close()
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    try:
        server = await asyncio.start_server(lambda r, w: accepted.put_nowait((r, w)), None, port)
    except OSError as error:
        return await p.fail(f"bind: {'Address in use' if error.errno == errno.EADDRINUSE else why_not(error)}")
    try:
        while True:
            reader, writer = await accepted.get()
            if program:
                await _inetd(p, program, reader, writer)
            else:
                await _talk(p, reader, writer, None, False)
            if not keep:
                return 0
    finally:
        server.close()


async def _inetd(p: Process, program: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run a program on a connection."""
    from minikube_py.images.shell.streams import Called, Feed

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        await p.call(shlex.split(program), stdin=Feed(reader), stdout=Called(send))
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _telnet(p: Process) -> int:
    args = [arg for arg in p.args if not arg.startswith("-")]
    if not args:
        raise UsageError("usage: telnet HOST [PORT]")
    host, port = args[0], int(args[1]) if len(args) > 1 else 23
    try:
        reader, writer = await connect(host, port)
    except OSError as error:
        if reason(error) == "name":
            return await p.fail(f"bad address '{host}'")
        return await p.fail(f"can't connect to remote host ({await shown_address(host)}): {why_not(error)}")
    await p.out(f"\nConnected to {host}\n\nEntering character mode\nEscape character is '^]'.\n\n")
    await _talk(p, reader, writer, None, False)
    await p.out("Connection closed by foreign host\n")
    return 1


TOOLS: dict[str, Tool] = {
    "nc": _nc,
    "ncat": _nc,
    "netcat": _nc,
    "telnet": _telnet,
}
