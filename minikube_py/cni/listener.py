"""Virtual addresses: listeners whose connections are handed on, as DNAT does, but at accept time.

    caller ──► ClusterIP listener ── handler picks an endpoint ──► Connection.hand_off(pod, port)
                                                                       │ Gate asked with the caller's own address
                        in this process: the accepted socket itself ◄──┼──► elsewhere: spliced, as the caller
                                         denied: held unread, or reset ◄┘

There is no second hop for pods of this process: the endpoint's protocol serves the very socket that was accepted,
so the source address is the caller's, and the speed that of calling the pod.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any

from minikube_py.cni.accept import AcceptLoop, Address, TrackedSocket, reset
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric
    from minikube_py.cni.live import Closed

__all__ = ["Connection", "Listener", "Outcome"]


class Outcome(Enum):
    """What became of a hand-off."""

    HANDED = "handed"
    """A pod of this process serves the connection."""
    SPLICED = "spliced"
    """Another process is being called; the connection is reset if nothing listens there."""
    HELD = "held"
    """A policy denies it: the caller waits until the policy or the caller gives up."""
    RESET = "reset"
    """Denied, and denials are resets here."""


class Connection:
    """An accepted connection that nobody has read from yet.

    Its handler must call exactly one of `hand_off`, `serve`, `hold` and `reset`.
    """

    __slots__ = ("_fabric", "_refused", "_socket", "destination", "listener", "source")

    def __init__(
        self, fabric: Fabric, listener: Listener, sock: TrackedSocket, source: Address, destination: Address
    ) -> None:
        self._fabric = fabric
        self._socket = sock
        self._refused = False
        self.listener = listener
        self.source = source
        """Who calls: a pod's, a node's or (127.0.0.1) an outsider's address."""
        self.destination = destination
        """The virtual address that was called, with the port of the Service."""

    def hand_off(self, ip: str, port: int, *, seen_as: str = "", closed: Closed | None = None) -> Outcome:
        """Give the connection to `ip`:`port` (the pod's own port), if policy allows; `seen_as` as in `Flow`.

        `closed(received, sent)` is called once when the connection has ended, or before it is judged anew; a held
        connection goes through the listener's handler again when policies change.
        """
        fabric, caller = self._fabric, self.source[0]
        if caller != ip:
            flow = Flow(caller, ip, port, "TCP", seen_as)
            verdict = fabric.gate.check(flow)
            if not verdict.allowed:
                if not self._refused:  # one denial, however often it is judged and whichever endpoint is chosen
                    fabric.denied(flow, verdict)
                    self._refused = True
                return self._deny(closed)
        if server := fabric.server(ip, port):
            server.adopt(self._socket, caller, closed)
            return Outcome.HANDED
        fabric.splice(self._socket, caller, ip, port, closed)
        return Outcome.SPLICED

    def _deny(self, closed: Closed | None) -> Outcome:
        if self._fabric.deny == "reset":
            reset(self._socket)
            if closed:
                closed(0, 0)
            return Outcome.RESET

        def again() -> None:
            if closed:
                closed(0, 0)
            self.listener.handler(self)

        def gone() -> None:
            if closed:
                closed(0, 0)

        self._fabric.held.add(self._socket, self.listener, again, gone)
        return Outcome.HELD

    def serve(self, program: Callable[[TrackedSocket], Coroutine[Any, Any, None]]) -> None:
        """Let `program` speak with the caller: it is the node itself that was called, no pod."""
        task = self._fabric.run(program(self._socket), f"call of {self.source[0]} to {self.destination[0]}")
        task.add_done_callback(lambda _: self._socket.close())  # even if it was cancelled before it began

    def hold(self) -> None:
        """Drop: the caller gets no answer, until the listener's held connections are judged anew or it gives up."""
        self._fabric.held.add(self._socket, self.listener, lambda: self.listener.handler(self), lambda: None)

    def reset(self) -> None:
        """Refuse: the caller gets an RST."""
        reset(self._socket)


class Listener:
    """An open virtual address.

    Resource handling: `close()` frees the address and refuses held connections; established ones live on.
    """

    def __init__(
        self, fabric: Fabric, address: Address, accept: AcceptLoop, handler: Callable[[Connection], object]
    ) -> None:
        self._fabric = fabric
        self._accept: AcceptLoop | None = accept
        self.address = address
        """As callers know it; the port below it may be 20000 higher (`Fabric.real_port`)."""
        self.handler = handler
        self.accepted = 0
        """Connections so far."""

    @property
    def closed(self) -> bool:
        return self._accept is None

    def connected(self, sock: TrackedSocket, source: Address) -> None:
        self.accepted += 1
        self.handler(Connection(self._fabric, self, sock, source, self.address))

    def close(self) -> None:
        if self._accept:
            self._fabric.filters.remove(self)
            self._accept.close()
            self._accept = None
            self._fabric.held.drop(self)
            self._fabric.forget_listener(self)
