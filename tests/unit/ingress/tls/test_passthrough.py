"""TLS passed through by name, beside TLS that ends here; on asyncio's loop and uvloop's."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from ..authority import Authority
from ..support import PORT, World, echo, endpoints, ingress, path, service, world


class Stage:
    """A controller with the cluster's CA, and a pod with its own."""

    def __init__(self, running: World, cluster: Authority, own: Authority) -> None:
        self.running = running
        self.cluster = cluster
        self.own = own

    async def pod(self, *names: str, text: bytes = b"the pod's own TLS") -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while (size := int((await reader.readline()) or b"0")) >= 0:
                writer.write(text + b"x" * size + b"\n")
                await writer.drain()
                if not size:
                    break
            writer.close()

        return await self.running.raw_pod(answer, tls=self.own.server(*names))

    async def ask(self, name: str, trust: Authority, *, size: int = 0) -> bytes:
        reader, writer = await asyncio.open_connection(
            self.running.address_of_controller,
            self.running.https_port,
            ssl=trust.trust(),
            server_hostname=name,
            limit=1 << 24,
        )
        try:
            writer.write(b"%d\n" % size if trust is self.own else _GET % name.encode())
            return await asyncio.wait_for(reader.readuntil(b"\n"), 5)
        finally:
            writer.close()


_GET = b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with world() as running:
        cluster = Authority("cluster")
        await running.start(certificate_authority=cluster)
        yield Stage(running, cluster, Authority("pods"))


async def test_a_host_is_passed_through_and_others_are_not(stage: Stage) -> None:
    """The pod makes its own handshake; other names go on to the controller's TLS, before and after."""
    running = stage.running
    running.serve("plain", await running.pod(echo), host="plain.test")
    assert (await stage.ask("plain.test", stage.cluster)).startswith(b"HTTP/1.1 200")
    running.serve("secret", await stage.pod("secret.test"), host="secret.test", ssl_passthrough="true")
    assert await stage.ask("secret.test", stage.own) == b"the pod's own TLS\n"
    assert (await stage.ask("plain.test", stage.cluster)).startswith(b"HTTP/1.1 200")
    assert len(await stage.ask("secret.test", stage.own, size=3_000_000)) > 3_000_000


async def test_sessions_are_logged(stage: Stage) -> None:
    """With nginx's stream format, name and pod."""
    pod = await stage.pod("secret.test")
    stage.running.serve("secret", pod, host="secret.test", ssl_passthrough="true")
    await stage.ask("secret.test", stage.own)
    while not (lines := [each.text for each in stage.running.log.lines() if " TCP " in each.text]):
        await asyncio.sleep(0)
    assert " TCP 200 " in lines[0]
    assert lines[0].endswith(f"secret.test {pod}:{PORT}")


async def test_pods_take_turns(stage: Stage) -> None:
    """Connection by connection; an endpoint that refuses is left out."""
    pods = [await stage.pod("secret.test", text=text) for text in (b"a", b"b")]
    stage.running.serve("secret", stage.running.address(), *pods, host="secret.test", ssl_passthrough="true")
    assert {await stage.ask("secret.test", stage.own) for _ in range(4)} == {b"a\n", b"b\n"}


@pytest.mark.parametrize("ready", [True, False])
async def test_without_a_pod_the_connection_ends(stage: Stage, ready: bool) -> None:
    """Nobody else can speak for that name."""
    running = stage.running
    running.create(
        service("secret"),
        endpoints("secret", [running.address()], ready=ready),
        ingress("i", {"secret.test": [path("secret")]}, annotations={"ssl-passthrough": "true"}),
    )
    with pytest.raises(OSError):  # noqa: PT011  # reset or EOF, as the loop sees it
        await stage.ask("secret.test", stage.own)
    status = 502 if ready else 503
    assert any(f" TCP {status} " in each.text for each in running.log.lines())


async def test_it_can_be_switched_off() -> None:
    """--enable-ssl-passthrough=false, the real controller's default: the annotation has no effect."""
    async with world() as running:
        cluster = Authority("cluster")
        await running.start(certificate_authority=cluster, args=("/ctl", "--enable-ssl-passthrough=false"))
        running.serve("web", await running.pod(echo), host="secret.test", ssl_passthrough="true")
        answer = await Stage(running, cluster, Authority("pods")).ask("secret.test", cluster)
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("passing", [True, False])
async def test_plain_http_is_told_so(stage: Stage, passing: bool) -> None:
    """As by nginx, with hosts to pass through or without."""
    if passing:
        stage.running.serve("secret", await stage.pod("secret.test"), host="secret.test", ssl_passthrough="true")
    reader, writer = await asyncio.open_connection(stage.running.address_of_controller, stage.running.https_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: secret.test\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"The plain HTTP request was sent to HTTPS port" in answer
    assert '"" 400 ' in stage.running.log.lines()[-1].text.replace('"-"', '""', 1)
    writer.close()


@pytest.mark.parametrize("passing", [True, False])
async def test_a_broken_hello_is_closed(stage: Stage, passing: bool) -> None:
    """There is nobody to explain it to."""
    if passing:
        stage.running.serve("secret", await stage.pod("secret.test"), host="secret.test", ssl_passthrough="true")
    reader, writer = await asyncio.open_connection(stage.running.address_of_controller, stage.running.https_port)
    writer.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
    try:
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        pass  # as good
    writer.close()


async def test_the_end_doesnt_wait_for_who_says_nothing(stage: Stage) -> None:
    """A connection without a word is closed at once when the controller stops."""
    reader, writer = await asyncio.open_connection(stage.running.address_of_controller, stage.running.https_port)
    await asyncio.sleep(0)
    await asyncio.wait_for(stage.running.stop(), 5)
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        pass  # as good
    writer.close()


async def test_a_hello_may_come_in_pieces(stage: Stage) -> None:
    """Byte by byte even, for either end."""
    running = stage.running
    running.serve("plain", await running.pod(echo), host="plain.test")
    running.serve("secret", await stage.pod("secret.test"), host="secret.test", ssl_passthrough="true")
    for name, trust in (("plain.test", stage.cluster), ("secret.test", stage.own)):
        assert await _slowly(running, name, trust.trust())


async def _slowly(running: World, name: str, trust: ssl.SSLContext) -> bool:
    """Make a handshake whose hello comes in three pieces; tell whether it succeeded."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(incoming, outgoing, server_hostname=name)
    reader, writer = await asyncio.open_connection(running.address_of_controller, running.https_port)
    steps: Callable[[], None] = tls.do_handshake
    try:
        while True:
            try:
                steps()
            except ssl.SSLWantReadError:
                data = outgoing.read()
                for piece in (data[:3], data[3:60], data[60:]):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                incoming.write(await asyncio.wait_for(reader.read(65536), 5))
            else:
                return True
    finally:
        writer.close()
