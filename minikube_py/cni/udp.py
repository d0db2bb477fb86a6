"""UDP: a pod's own sockets, and Service addresses with a table of flows.

    client ──► Service socket ── flow table: client → endpoint ──► pod's protocol, in its context   (this process)
       ▲             │                                        └──► one connected socket per flow    (elsewhere)
       └─ replies come from the Service's address ◄── the pod answers through the same transport

A datagram flow is what conntrack makes of it: judged once when its first datagram comes, forgotten after 30 seconds
without any, or 180 if both sides have spoken (nf_conntrack_udp_timeout, nf_conntrack_udp_timeout_stream).

If one client socket calls a pod both directly and through a Service, answers go the way that it called last.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from minikube_py.cni.accept import Address
from minikube_py.cni.datagrams import BatchProtocol
from minikube_py.cni.drop import DatagramFilter
from minikube_py.cni.mmsg import Datagram
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric
    from minikube_py.cni.namespace import NetworkNamespace

__all__ = ["Endpoint", "EndpointTransport", "UdpListener"]

logger = logging.getLogger(__name__)

_UNREPLIED, _ASSURED = 30.0, 180.0
_SWEEP = 10.0
_MOST_FLOWS = 65536
"""Per socket; nf_conntrack_max of a small machine."""
_BATCH = 64
_DATAGRAM = 65535


class _Via:
    """How answers to a client that called through a Service leave: from the Service's socket."""

    __slots__ = ("_flow", "_listener")

    def __init__(self, listener: UdpListener, flow: _Flow) -> None:
        self._listener = listener
        self._flow = flow

    def send(self, data: bytes, client: Address) -> None:
        self._flow.replied = True
        self._flow.seen = self._listener.now()
        self._flow.sent += len(data)
        self._listener.send(data, client)


class EndpointTransport(asyncio.DatagramTransport):
    """What a pod's datagram protocol gets for a transport.

    Destinations are the cluster's: localhost is the pod, ports below 1024 are reached, egress policy applies
    (a denied datagram is dropped, as on a wire).
    """

    def __init__(self, endpoint: Endpoint, transport: asyncio.DatagramTransport, peer: Address | None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._transport = transport
        self._peer = peer

    def sendto(self, data: Any, addr: Any = None) -> None:
        endpoint = self._endpoint
        if addr is None or self._peer is not None:
            if self._peer is None:
                raise ValueError("sendto: no address given and the endpoint is not connected")
            if endpoint.may_send(self._peer):
                self._transport.sendto(data)
            return
        target = (addr[0], addr[1])
        if (via := endpoint.via.get(target)) is not None:
            via.send(bytes(data), target)
        elif (real := endpoint.may_send(target)) is not None:
            self._transport.sendto(data, real)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def get_protocol(self) -> Any:
        return self._endpoint.inner

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._endpoint.inner = protocol

    def get_write_buffer_size(self) -> int:
        return int(self._transport.get_write_buffer_size())  # type: ignore[attr-defined]

    def get_write_buffer_limits(self) -> tuple[int, int]:
        low, high = self._transport.get_write_buffer_limits()  # type: ignore[attr-defined]
        return low, high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high=high, low=low)  # type: ignore[attr-defined]


class Endpoint(asyncio.DatagramProtocol):
    """Stands between the pod's socket and the pod's protocol: judges who sends, and takes Service traffic too."""

    def __init__(self, namespace: NetworkNamespace, inner: Any, port: int, peer: Address | None) -> None:
        self.namespace = namespace
        self.inner = inner
        self.batched = isinstance(inner, BatchProtocol)
        self.port = port
        """As the pod sees it; 0 for a client socket."""
        self.via: dict[Address, _Via] = {}
        self.transport: EndpointTransport | None = None
        self.filter: DatagramFilter | None = None
        """Of a server's socket, where denials are drops."""
        self._peer = peer
        self._seen: dict[Address, float] = {}
        self._refused: dict[tuple[Address, str], None] = {}
        self._context = contextvars.copy_context()
        self._generation = namespace.fabric.generation
        self._now = asyncio.get_running_loop().time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = EndpointTransport(self, cast(asyncio.DatagramTransport, transport), self._peer)
        self.inner.connection_made(self.transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        source = (addr[0], addr[1])
        now = self._now()
        if self._peer is None and now - self._seen.get(source, -_ASSURED) >= _ASSURED and not self._may_receive(source):
            return
        self._note(source, now)
        if self.via:
            self.via.pop(source, None)
        self.namespace.count(received=len(data))
        self.inner.datagram_received(data, addr)

    def datagrams(self, received: list[Datagram]) -> list[Datagram]:
        """Do what `datagram_received` does for a protocol that takes batches; each client is judged once."""
        now, seen, refused = self._now(), self._seen, set()
        for source in dict.fromkeys([source for _, source in received]):
            if now - seen.get(source, -_ASSURED) >= _ASSURED and not self._may_receive(source):
                refused.add(source)
                continue
            self._note(source, now)
            if self.via:
                self.via.pop(source, None)
        if refused:
            received = [datagram for datagram in received if datagram[1] not in refused]
        return self._work(received) if received else []

    def _work(self, received: list[Datagram]) -> list[Datagram]:
        self.namespace.count(received=sum([len(data) for data, _ in received]))
        try:
            answers: list[Datagram] = self._context.run(self.inner.datagrams_received, received)
        except Exception:
            logger.exception("datagrams failed pod=%s port=%d", self.namespace, self.port)
            return []
        return answers

    def error_received(self, exc: Exception) -> None:
        self.inner.error_received(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.namespace.forget_endpoint(self)
        self.via.clear()
        self.inner.connection_lost(exc)

    @property
    def closed(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def deliver(self, data: bytes, client: Address, via: _Via) -> None:
        """Take a datagram that came to a Service's address; answers leave from there."""
        self.via[client] = via
        self.namespace.count(received=len(data))
        try:
            self._context.run(self.inner.datagram_received, data, client)
        except Exception:
            logger.exception("datagram failed pod=%s port=%d", self.namespace, self.port)

    def deliver_batch(self, received: list[Datagram], flows: dict[Address, _Flow]) -> list[Datagram]:
        """Take datagrams that came to a Service's address; return what answers them at once."""
        via = self.via
        for client, flow in flows.items():
            assert flow.via
            via[client] = flow.via
        answers = self._work(received)
        for data, client in answers:
            flow = flows[client]
            flow.replied = True
            flow.sent += len(data)
        return answers

    def may_send(self, target: Address) -> Address | None:
        """Return the kernel's address for `target`, None if policy denies; asked at a flow's first datagram.

        Whom we have heard is answered as is: 127.0.0.1 as a sender is the outside, though as a target it is the pod.
        """
        now = self._now()
        real = target
        if self.filter is not None and target[0] in self.filter:
            self.filter.remove(target[0])  # we talk to it: its replies must pass
        if now - self._seen.get(target, -_ASSURED) >= _ASSURED:
            namespace = self.namespace
            real = namespace.real_address(*target)
            fresh = now - self._seen.get(real, -_ASSURED) < _ASSURED
            flow = None if fresh else namespace.judged(*target, "UDP")
            if flow is not None and not self._judge(target, flow):
                return None
        self._note(real, now)
        return real

    def _may_receive(self, source: Address) -> bool:
        namespace = self.namespace
        if source[0] == namespace.ip or self._judge(source, Flow(source[0], namespace.ip, self.port, "UDP")):
            return True
        if self.filter is not None and not any(peer[0] == source[0] for peer in (*self._seen, *self.via)):
            self.filter.add(source[0])
        return False

    def _judge(self, peer: Address, flow: Flow) -> bool:
        fabric = self.namespace.fabric
        if self._generation != fabric.generation:
            self._generation = fabric.generation
            self._refused.clear()
        if (peer, flow.source) in self._refused:
            return False
        verdict = fabric.gate.check(flow)
        if verdict.allowed:
            return True
        fabric.denied(flow, verdict)
        if len(self._refused) >= _MOST_FLOWS:
            self._refused.clear()
        self._refused[peer, flow.source] = None
        return False

    def _note(self, peer: Address, now: float) -> None:
        if peer not in self._seen and len(self._seen) >= 1024:
            self._expire(now)
        self._seen[peer] = now

    def _expire(self, now: float) -> None:
        self._seen = {peer: seen for peer, seen in self._seen.items() if now - seen < _ASSURED}
        if len(self._seen) >= _MOST_FLOWS:
            self._seen.clear()


class _Flow:
    """One client's datagrams to one endpoint; `endpoint` None means that policy denies them."""

    __slots__ = ("endpoint", "received", "relay", "replied", "seen", "sent", "target", "via")

    def __init__(self, target: Address, seen: float) -> None:
        self.target = target
        self.seen = seen
        self.replied = False
        self.received = 0
        self.sent = 0
        self.endpoint: Endpoint | None = None
        self.relay: _Relay | None = None
        self.via: _Via | None = None

    @property
    def alive(self) -> bool:
        if self.endpoint is not None:
            return not self.endpoint.closed
        return self.relay is None or not self.relay.closed


class _Relay:
    """The socket by which one flow reaches an endpoint outside the process, bound to the client's address.

    A flow that began while a container restarted has one, too, until the pod's own socket is open again.
    """

    def __init__(self, listener: UdpListener, client: Address, flow: _Flow, sock: socket.socket) -> None:
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
        self._flows: dict[Address, _Flow] = {}
        self._answers: list[tuple[bytes, Address]] | None = None
        """What is answered while a batch is worked off: it leaves in one go."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._sweeper: asyncio.TimerHandle | None = None
        self._generation = fabric.generation
        self._refused: dict[Address, None] = {}
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
        flows: dict[Address, _Flow] = {}
        endpoints: dict[Endpoint, dict[Address, _Flow]] = {}
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

    def _flow(self, client: Address) -> _Flow | None:
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

    def _open(self, client: Address) -> _Flow | None:
        fabric = self.fabric
        if self._generation != fabric.generation:
            self._generation = fabric.generation
            self._refused.clear()
        if client in self._refused or (target := self._pick(client)) is None:
            return None
        if client[0] != target[0]:
            judged = Flow(client[0], *target, "UDP", self._seen_as())
            verdict = fabric.gate.check(judged)
            if not verdict.allowed:
                fabric.denied(judged, verdict)
                if len(self._refused) >= _MOST_FLOWS:
                    self._refused.clear()
                self._refused[client] = None
                if self._report:
                    self._report(target, 0, 0)
                return None
        if len(self._flows) >= _MOST_FLOWS:
            self._drop(next(iter(self._flows)))
        flow = self._flows[client] = _Flow(target, self.now())
        flow.endpoint = fabric.endpoint(*target)
        if flow.endpoint is not None:
            flow.via = _Via(self, flow)
        elif not self._relay(client, flow):
            self._drop(client)
            return None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        return flow

    def _relay(self, client: Address, flow: _Flow) -> bool:
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
            if now - flow.seen >= (_ASSURED if flow.replied else _UNREPLIED):
                self._drop(client)
