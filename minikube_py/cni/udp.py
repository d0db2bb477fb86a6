"""UDP: Service addresses with a table of flows.

    client ──► Service socket ── flow table: client → endpoint ──► pod's protocol, in its context   (this process)
       ▲             │                                        └──► one connected socket per flow    (elsewhere)
       └─ replies come from the Service's address ◄── the pod answers through the same transport

A datagram flow is what conntrack makes of it: judged once when its first datagram comes, forgotten after 30 seconds
without any, or 180 if both sides have spoken (nf_conntrack_udp_timeout, nf_conntrack_udp_timeout_stream).

If one client socket calls a pod both directly and through a Service, answers go the way that it called last.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from minikube_py.cni.accept import Address
from minikube_py.cni.mmsg import Datagram
from minikube_py.cni.types import Flow
from minikube_py.cni.udp_endpoint import ASSURED, MOST_FLOWS, Endpoint, Refusals

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric

__all__ = ["DatagramFlow", "UdpListener", "Via"]

logger = logging.getLogger(__name__)

_UNREPLIED = 30.0
"""Seconds after which a flow without an answer is forgotten."""
_SWEEP = 10.0
"""Seconds between looks for idle flows."""
_BATCH = 64
"""Datagrams read from one relay before others have their turn."""
_DATAGRAM = 65535
"""Bytes of the longest datagram."""


class Via:
    """How answers to a client that called through a Service leave: from the Service's socket."""

    __slots__ = ("_flow", "_listener")

    def __init__(self, listener: UdpListener, flow: DatagramFlow) -> None:
        self._listener = listener
        self._flow = flow

    def send(self, data: bytes, client: Address) -> None:
        self._flow.replied = True
        self._flow.seen = self._listener.now()
        self._flow.sent += len(data)
        self._listener.send(data, client)


class DatagramFlow:
    """One client's datagrams to one endpoint, by `endpoint` and `via` in this process, else by a `relay`."""

    __slots__ = ("endpoint", "received", "relay", "replied", "seen", "sent", "target", "via")

    def __init__(self, target: Address, seen: float) -> None:
        self.target = target
        self.seen = seen
        self.replied = False
        self.received = 0
        self.sent = 0
        self.endpoint: Endpoint | None = None
        self.relay: _Relay | None = None
        self.via: Via | None = None

    @property
    def alive(self) -> bool:
        if self.endpoint is not None:
            return not self.endpoint.closed
        return self.relay is None or not self.relay.closed


class _Relay:
    """The socket by which one flow reaches an endpoint outside the process, bound to the client's address.

    A flow that began while a container restarted has one, too, until the pod's own socket is open again.
    """

    def __init__(self, listener: UdpListener, client: Address, flow: DatagramFlow, sock: socket.socket) -> None:
        self._listener, self._client, self._flow, self._socket = listener, client, flow, sock
        self._loop = asyncio.get_running_loop()
        listener.fabric.context().run(self._loop.add_reader, sock.fileno(), self._readable)

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:
            pass  # nobody listens there, or the queue is full: datagrams may be lost

    def close(self) -> None:
        if not self.closed:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                data = self._socket.recv(_DATAGRAM)
            except OSError:  # nothing more, or an ICMP error, which reading has cleared
                return
            self._flow.replied = True
            self._flow.seen = self._listener.now()
            self._flow.sent += len(data)
            self._listener.send(data, self._client)


class UdpListener:
    """A virtual UDP address.

    `pick(client)` chooses the endpoint of a new flow, or None to drop it; `closed(target, received, sent)` reports
    a flow's end; `seen_as` is that of `Flow`.
    Resource handling: owns its socket, its relays and one timer; `close()` ends them.
    """

    def __init__(
        self,
        fabric: Fabric,
        sock: socket.socket,
        address: Address,
        pick: Callable[[Address], Address | None],
        closed: Callable[[Address, int, int], None] | None = None,
        seen_as: Callable[[], str] = str,
    ) -> None:
        self.fabric = fabric
        self._seen_as = seen_as
        self._socket = sock
        self._pick = pick
        self._report = closed
        self.address = address
        self._flows: dict[Address, DatagramFlow] = {}
        self._answers: list[tuple[bytes, Address]] | None = None
        """What is answered while a batch is worked off: it leaves in one go."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._sweeper: asyncio.TimerHandle | None = None
        self._refused = Refusals(fabric)
        fabric.context().run(self._loop.add_reader, sock.fileno(), self._readable)

    @property
    def flows(self) -> int:
        """How many flows are remembered."""
        return len(self._flows)

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        if self.closed:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for client in [*self._flows]:
            self._drop(client)
        if self._sweeper:
            self._sweeper.cancel()
        self.fabric.forget_udp_listener(self)

    def forget(self, ip: str, port: int) -> None:
        """Drop the flows to one endpoint: their next datagrams are for another."""
        for client in [client for client, flow in self._flows.items() if flow.target == (ip, port)]:
            self._drop(client)

    def send(self, data: bytes, client: Address) -> None:
        if self._answers is not None:
            self._answers.append((data, client))
            return
        try:
            self._socket.sendto(data, client)
        except OSError:
            pass  # the queue is full or the client is gone: datagrams may be lost

    def _readable(self) -> None:
        try:
            received = self.fabric.batch.receive(self._socket)
        except OSError:  # an ICMP answer to something that we sent; what waits behind it wakes us again
            return
        answers = self._answers = []
        try:
            if len(received) > 1:
                received = self._by_the_batch(received, answers)
            for data, client in received:
                if self.closed:
                    return
                self._datagram(data, client)
        finally:
            self._answers = None
        if answers and not self.closed:
            self.fabric.batch.send(self._socket, answers)

    def _by_the_batch(self, received: list[Datagram], answers: list[Datagram]) -> list[Datagram]:
        """Hand datagrams to the endpoints that take batches, adding to `answers`; return those of other flows."""
        now = self.now()
        dropped: set[Address] = set()
        flows: dict[Address, DatagramFlow] = {}
        endpoints: dict[Endpoint, dict[Address, DatagramFlow]] = {}
        for client in dict.fromkeys([client for _, client in received]):
            if (flow := self._flow(client)) is None:
                dropped.add(client)
            elif flow.endpoint is not None and flow.endpoint.batched:
                flow.seen = now
                flows[client] = endpoints.setdefault(flow.endpoint, {})[client] = flow
        if not flows and not dropped:
            return received
        others: list[Datagram] = []
        groups: dict[Endpoint, list[Datagram]] = {endpoint: [] for endpoint in endpoints}
        for datagram in received:
            if (flow := flows.get(datagram[1])) is not None:
                flow.received += len(datagram[0])
                assert flow.endpoint
                groups[flow.endpoint].append(datagram)
            elif datagram[1] not in dropped:
                others.append(datagram)
        for endpoint, group in groups.items():
            answers += endpoint.deliver_batch(group, endpoints[endpoint])
        return others

    def _flow(self, client: Address) -> DatagramFlow | None:
        """Return the client's flow as it is or begin one; None: dropped."""
        flow = self._flows.get(client)
        if flow is None or not flow.alive or (flow.relay is not None and self.fabric.endpoint(*flow.target)):
            if flow is not None:
                self._drop(client)
            return self._open(client)
        return flow

    def _datagram(self, data: bytes, client: Address) -> None:
        if (flow := self._flow(client)) is None:
            return
        flow.seen = self.now()
        flow.received += len(data)
        if flow.endpoint is not None:
            assert flow.via
            flow.endpoint.deliver(data, client, flow.via)
        elif flow.relay is not None:
            flow.relay.send(data)

    def _open(self, client: Address) -> DatagramFlow | None:
        fabric = self.fabric
        if client in self._refused or (target := self._pick(client)) is None:
            return None
        if client[0] != target[0]:
            judged = Flow(client[0], *target, "UDP", self._seen_as())
            verdict = fabric.gate.check(judged)
            if not verdict.allowed:
                fabric.denied(judged, verdict)
                self._refused.add(client)
                if self._report:
                    self._report(target, 0, 0)
                return None
        if len(self._flows) >= MOST_FLOWS:
            self._drop(next(iter(self._flows)))
        flow = self._flows[client] = DatagramFlow(target, self.now())
        flow.endpoint = fabric.endpoint(*target)
        if flow.endpoint is not None:
            flow.via = Via(self, flow)
        elif not self._relay(client, flow):
            self._drop(client)
            return None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        return flow

    def _relay(self, client: Address, flow: DatagramFlow) -> bool:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if flow.target[0].startswith("127."):
                sock.bind((client[0], 0))
            sock.connect(self.fabric.real_address(*flow.target))
        except OSError as error:
            sock.close()
            logger.warning("udp relay failed endpoint=%s:%d reason=%s", *flow.target, error)
            return False
        flow.relay = _Relay(self, client, flow, sock)
        return True

    def _drop(self, client: Address) -> None:
        flow = self._flows.pop(client)
        if flow.endpoint is not None and flow.endpoint.via.get(client) is flow.via:
            del flow.endpoint.via[client]
        if flow.relay is not None:
            flow.relay.close()
        if self._report:
            self._report(flow.target, flow.received, flow.sent)

    def _sweep(self) -> None:
        self._sweeper = None
        self.expire(self.now())
        if self._flows:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def expire(self, now: float) -> None:
        """Forget the flows that have been idle for too long at `now` (seconds of the loop's clock)."""
        for client, flow in [*self._flows.items()]:
            if now - flow.seen >= (ASSURED if flow.replied else _UNREPLIED):
                self._drop(client)
