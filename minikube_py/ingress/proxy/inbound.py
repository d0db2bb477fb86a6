"""A request as an `Exchange` sees it, whatever the version of HTTP it came by, and the way to answer it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from minikube_py.ingress.router import Endpoint

__all__ = ["Attempt", "Fields", "Inbound", "RawFields"]

RawFields: TypeAlias = Sequence[tuple[bytes, bytes]]
"""(name, value), in order."""
Fields: TypeAlias = Sequence[tuple[bytes, bytes, bytes]]
"""(lower-case name, name as sent, value), in order."""


class Attempt(NamedTuple):
    """A request that went to an endpoint in vain."""

    endpoint: Endpoint
    error: Exception
    sent: bool
    """The request itself; else there was no connection for it."""
    seconds: float


class Inbound(Protocol):
    """One request and its answer.

    An answer is `begin`, any number of `write`, `finish`; interim answers may come before. `write` and `finish` never
    block: who has much to say waits in `drain` while `paused`.
    """

    method: str
    target: str
    """As it was sent."""
    version: str
    """`HTTP/1.1`"""
    remote: str
    length: int | None
    """The announced length of the body; None where it isn't known before its end."""
    has_body: bool
    problem: tuple[int, str] | None
    """(status, why) of a request that is malformed."""
    keep_alive: bool
    """The connection stays after the answer; no business of HTTP/2's."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive; Host is HTTP/2's `:authority`."""
        ...

    @property
    def raw_headers(self) -> RawFields: ...

    @property
    def drawn(self) -> float | None:
        """The lot that has already chosen among weighted backends; None: not drawn yet."""

    @property
    def before(self) -> Sequence[Attempt]:
        """What the fast path tried before it handed the request over."""
        ...

    @property
    def body_read(self) -> bool:
        """The whole body has been read, or there is none."""
        ...

    @property
    def trailers(self) -> Fields:
        """What came after the body, once it is read."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body; b"" at its end.

        Error handling: ValueError for a body that is malformed or cut short.
        """
        ...

    def interim(self, status: int, reason: bytes = b"", fields: Fields = ()) -> None:
        """Send an informational answer (1xx) before the real one."""
        ...

    def begin(self, status: int, reason: bytes, fields: Fields, *, sized: bool) -> None:
        """Start the answer; `sized` if the fields (or the status) say where its body ends."""
        ...

    def write(self, data: bytes) -> None:
        """Send what there is of the answer so far."""
        ...

    def finish(self, data: bytes = b"", trailers: Fields = ()) -> None:
        """Send the rest."""
        ...

    @property
    def gone(self) -> bool:
        """Nobody waits for the answer any more."""
        ...

    @property
    def paused(self) -> bool:
        """The caller takes its answer slower than it comes."""
        ...

    async def drain(self) -> None:
        """Wait until the caller takes more."""
        ...

    def abort(self) -> None:
        """Break off: the caller must not take what it has for the whole."""
        ...

    def switch(self, fields: Fields, upgrade: str, tunnel: Any) -> None:
        """Answer 101 and give `tunnel.feed_data` and `tunnel.feed_eof` whatever the caller sends from now on."""
        ...

    def pause(self) -> None:
        """Stop reading from the caller (a tunnel whose other end is slow)."""
        ...

    def resume(self) -> None: ...
