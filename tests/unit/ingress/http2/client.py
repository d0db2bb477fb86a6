"""An HTTP/2 caller for tests: says what it is told to, right or wrong, and keeps what it hears."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from ..support import World

Pairs = Sequence[tuple[str, str]]
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.test"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]


def get(path: str = "/", host: str = "shop.test", *more: tuple[str, str], method: str = "GET") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]


class Client2:
    """One connection. `heard` is all that came, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, generous: bool = True) -> None:
        config = H2Configuration(
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = H2Connection(config)
        self.heard: list[events.Event] = []
        self.closed = False
        self.generous = generous
        """Gives back window for what has come."""
        self._reader = reader
        self._writer = writer

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def ask(self, headers: Pairs, body: bytes | None = None, *, end: bool = True) -> int:
        """Open a stream; with `end` the request is whole."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=end and body is None)
        await self.flush()
        if body is not None:
            await self.send(stream, body, end=end)
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if not room:
                await self.listen()
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            await self.flush()
        if end:
            self.h2.end_stream(stream)
            await self.flush()

    async def listen(self) -> None:
        """Take in what comes next."""
        try:
            data = await asyncio.wait_for(self._reader.read(65536), 5)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return
        try:
            found = self.h2.receive_data(data)
        except ProtocolError:
            self.closed = True
            raise
        self.heard += found
        for event in found:
            if self.generous and isinstance(event, events.DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self.flush()

    @property
    def acks(self) -> int:
        """Answers to our PINGs so far."""
        return sum(isinstance(each, events.PingAckReceived) for each in self.heard)

    async def until(self, wanted: Callable[[events.Event], bool]) -> events.Event:
        """Wait for an event; it may be there already.

        Error handling: ConnectionError when the connection ends before.
        """
        at = 0
        while True:
            for event in self.heard[at:]:
                if wanted(event):
                    return event
            at = len(self.heard)
            if self.closed:
                raise ConnectionError("the connection has ended")
            await self.listen()

    async def answer(self, stream: int) -> tuple[int, dict[str, str], bytes]:
        """Return (status, headers, body) of a whole answer."""
        await self.until(lambda event: isinstance(event, events.StreamEnded) and event.stream_id == stream)
        headers = next(
            dict(each.headers)
            for each in self.heard
            if isinstance(each, events.ResponseReceived) and each.stream_id == stream
        )
        body = b"".join(
            each.data for each in self.heard if isinstance(each, events.DataReceived) and each.stream_id == stream
        )
        return int(headers[":status"]), headers, body

    async def fetch(self, headers: Pairs, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        return await self.answer(await self.ask(headers, body))

    async def reset(self, stream: int) -> int:
        """Return the code by which the other side breaks a stream off."""
        event = await self.until(lambda each: isinstance(each, events.StreamReset) and each.stream_id == stream)
        assert isinstance(event, events.StreamReset)
        return int(event.error_code)

    async def goaway(self) -> int:
        """Return the code by which the other side ends the connection."""
        event = await self.until(lambda each: isinstance(each, events.ConnectionTerminated))
        assert isinstance(event, events.ConnectionTerminated)
        return int(event.error_code or 0)


@contextlib.asynccontextmanager
async def connected(running: World, *, generous: bool = True) -> AsyncIterator[Client2]:
    """Open an HTTP/2 connection to the controller."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        running.address_of_controller, running.https_port, ssl=trust, server_hostname="shop.test"
    )
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    client = Client2(reader, writer, generous=generous)
    try:
        await client.start()
        yield client
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
