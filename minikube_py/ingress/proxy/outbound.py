"""A request on its way to a pod, whatever the version of HTTP, as an `Exchange` sees it."""

from collections.abc import Callable
from typing import Protocol

from minikube_py.ingress.http1.messages import Head
from minikube_py.ingress.proxy.inbound import Fields
from minikube_py.ingress.router import Endpoint

__all__ = ["Outbound", "Outbounds"]


class Outbound(Protocol):
    """One request and its answer: a connection (`http1.pool.Connection`) or a stream of one (`http2.pool.Stream`).

    Error handling: all that waits raises Closed, BadResponse, or TimeoutError after `timeout` seconds of silence.
    """

    endpoint: Endpoint
    reused: bool
    received: int
    """Body bytes of the answer."""
    on_interim: Callable[[Head], None] | None

    def start(self, method: str, data: bytes, *, body: bool = False) -> None: ...

    def write_body(self, data: bytes, *, chunked: bool = False) -> None: ...

    def end_body(self, trailers: Fields = (), *, chunked: bool = False) -> None: ...

    @property
    def writing_paused(self) -> bool: ...

    async def drain(self) -> None: ...

    def expect(self, timeout: float) -> None:
        """Give the backend `timeout` seconds until it must have said more."""
        ...

    def touch(self, timeout: float) -> None:
        """Start the current wait over, with `timeout` seconds."""
        ...

    async def head(self, timeout: float) -> Head: ...

    async def read(self, timeout: float) -> bytes: ...

    def take(self) -> bytes: ...

    @property
    def done(self) -> bool: ...

    @property
    def trailers(self) -> Fields: ...

    def close(self) -> None: ...


class Outbounds(Protocol):
    """Where requests get their way to an endpoint."""

    def acquire(self, endpoint: Endpoint, *, secure: bool = False) -> Outbound | None: ...

    async def connect(self, endpoint: Endpoint, timeout: float, *, secure: bool = False) -> Outbound: ...
