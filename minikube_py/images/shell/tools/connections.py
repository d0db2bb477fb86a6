"""nc, ping, traceroute, telnet, redis-cli, pg_isready: talking to an address, as the pod.

ping needs no ICMP here: an address answers if it is a pod's or a node's of this cluster and the pod's policies let
anything pass to it. A Service's cluster IP does not answer, as with kube-proxy in iptables mode.
"""

import asyncio
import errno
import time
from typing import Any

from minikube_py.cni.types import Flow
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.streams import Source
from minikube_py.images.shell.tools.network import connect, namespace, reason, why_not
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


async def _nc(p: Process) -> int:
    options = read_options(p.args, "zvw:ulp:nke:q:Ni:s:46tW:")
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
    said = f"{host} ({await _shown(host)}:{port})"
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


async def _shown(host: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
        return str(found[0][4][0])
    except OSError:
        return host


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
        await p.call(program.split(), stdin=Feed(reader), stdout=Called(send))
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
        return await p.fail(f"can't connect to remote host ({await _shown(host)}): {why_not(error)}")
    await p.out(f"\nConnected to {host}\n\nEntering character mode\nEscape character is '^]'.\n\n")
    await _talk(p, reader, writer, None, False)
    await p.out("Connection closed by foreign host\n")
    return 1


# ping


def _answers(address: str) -> bool:
    """Tell whether an address of the cluster answers pings from here."""
    here = namespace()
    if here is None:
        return False
    fabric = here.fabric
    if address in (here.ip, "127.0.0.1"):
        return True
    if fabric.addresses.is_service(address):
        return False
    alive = any(other.ip == address and not other.closed for other in fabric.namespaces)
    if not alive and not _is_node(address):
        return False
    return fabric.gate.check(Flow(here.ip, address, 0, "ICMP")).allowed


def _is_node(address: str) -> bool:
    here = namespace()
    assert here is not None
    addresses = here.fabric.addresses
    return addresses.contains(address) and not addresses.is_pod(address) and not addresses.is_service(address)


async def _ping(p: Process) -> int:
    options = read_options(p.args, "c:i:w:W:s:qnt:I:4A")
    if not options.rest:
        raise UsageError("usage: ping [OPTIONS] HOST")
    host = options.rest[0]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return await p.fail(f"bad address '{host}'")
    address = str(found[0][4][0])
    here = namespace()
    if here is not None and not here.fabric.addresses.contains(address) and address != "127.0.0.1":
        return await p.fail("permission denied (are you root?)")  # beyond the cluster there is no raw socket to use
    count = int(options.number("c", 0))
    interval, patience = options.number("i", 1), options.number("W", 10)
    deadline = time.monotonic() + options.number("w", 0) if "w" in options else None
    size = int(options.number("s", 56))
    await p.out(f"PING {host} ({address}): {size} data bytes\n")
    sent = got = 0
    times: list[float] = []
    try:
        while (not count or sent < count) and (deadline is None or time.monotonic() < deadline):
            if sent:
                await asyncio.sleep(interval)
            started = time.perf_counter()
            sent += 1
            if _answers(address):
                await asyncio.sleep(0)
                times.append((time.perf_counter() - started) * 1000)
                if "q" not in options:
                    await p.out(f"{size + 8} bytes from {address}: seq={got} ttl=64 time={times[-1]:.3f} ms\n")
                got += 1
        if got < sent:
            left = patience if deadline is None else min(patience, max(deadline - time.monotonic(), 0))
            await asyncio.sleep(left if got == 0 and "W" in options else min(left, 1.0))
    finally:
        loss = round(100 * (sent - got) / sent) if sent else 0
        text = f"\n--- {host} ping statistics ---\n"
        text += f"{sent} packets transmitted, {got} packets received, {loss}% packet loss\n"
        if times:
            mean = sum(times) / len(times)
            text += f"round-trip min/avg/max = {min(times):.3f}/{mean:.3f}/{max(times):.3f} ms\n"
        await p.out(text)
    return int(not got)


async def _traceroute(p: Process) -> int:
    options = read_options(p.args, "nm:w:q:I46p:T")
    if not options.rest:
        raise UsageError("usage: traceroute HOST")
    host = options.rest[0]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return await p.fail(f"bad address '{host}'")
    address = str(found[0][4][0])
    await p.out(f"traceroute to {host} ({address}), 30 hops max, 46 byte packets\n")
    if _answers(address):
        shown = address if "n" in options else f"{host} ({address})"
        await p.out(f" 1  {shown}  0.010 ms  0.008 ms  0.007 ms\n")
        return 0
    await p.out(" 1  *  *  *\n")
    return 1


# Clients of databases


async def _resp(reader: asyncio.StreamReader) -> Any:
    line = (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
    kind, text = line[:1], line[1:]
    if kind == "$":
        if text == "-1":
            return None
        data = await reader.readexactly(int(text) + 2)
        return data[:-2].decode("utf-8", "replace")
    if kind == "*":
        return [await _resp(reader) for _ in range(int(text))] if text != "-1" else None
    if kind == ":":
        return int(text)
    return f"(error) {text}" if kind == "-" else text


def _redis_text(value: Any, tty: bool) -> str:
    if value is None:
        return "(nil)" if tty else ""
    if isinstance(value, int):
        return f"(integer) {value}" if tty else str(value)
    if isinstance(value, list):
        if not value:
            return "(empty array)" if tty else ""
        if tty:
            return "\n".join(f"{i}) {_redis_text(one, tty)}" for i, one in enumerate(value, 1))
        return "\n".join(_redis_text(one, tty) for one in value)
    return str(value).removeprefix("(error) ") if not tty else str(value)


async def _redis_cli(p: Process) -> int:
    args = p.args
    host, port, password = "127.0.0.1", 6379, p.env.get("REDISCLI_AUTH", "")
    while args and args[0].startswith("-"):
        flag, args = args[0], args[1:]
        if flag in ("-h", "-p", "-a", "-n", "--user", "-u"):
            value, args = (args[0] if args else ""), args[1:]
            if flag == "-h":
                host = value
            elif flag == "-p":
                port = int(value)
            elif flag == "-a":
                password = value
    try:
        reader, writer = await connect(host, port)
    except OSError as error:
        why = "Name does not resolve" if reason(error) == "name" else why_not(error)
        await p.err(f"Could not connect to Redis at {host}:{port}: {why}\n")
        return 1

    async def send(words: list[str]) -> Any:
        data = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        writer.write(b"*%d\r\n" % len(words) + data)
        await writer.drain()
        return await _resp(reader)

    try:
        if password:
            await send(["AUTH", password])
        if args:
            value = await send(args)
            await p.out(_redis_text(value, p.tty) + "\n")
            return int(isinstance(value, str) and value.startswith("(error)"))
        while line := await p.stdin.line():
            words = line.decode().split()
            if words[:1] in (["quit"], ["exit"]):
                break
            if words:
                await p.out(_redis_text(await send(words), p.tty) + "\n")
        return 0
    except (asyncio.IncompleteReadError, ValueError):
        await p.err("Error: Server closed the connection\n")
        return 1
    finally:
        writer.close()


async def _pg_isready(p: Process) -> int:
    options = read_options(p.args, "h:p:U:d:qt:", {"host=": "h", "port=": "p", "username=": "U", "dbname=": "d"})
    host, port = options.get("h", "127.0.0.1"), int(options.number("p", 5432))
    shown = options.get("h", "/var/run/postgresql")
    try:
        async with asyncio.timeout(options.number("t", 3) or None):
            _, writer = await connect(host, port)
        writer.close()
    except (OSError, TimeoutError):
        await p.out("" if "q" in options else f"{shown}:{port} - no response\n")
        return 2
    await p.out("" if "q" in options else f"{shown}:{port} - accepting connections\n")
    return 0


TOOLS: dict[str, Tool] = {
    "nc": _nc,
    "netcat": _nc,
    "telnet": _telnet,
    "ping": _ping,
    "traceroute": _traceroute,
    "redis-cli": _redis_cli,
    "pg_isready": _pg_isready,
}
