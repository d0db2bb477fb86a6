"""A pod's own UDP socket: the cluster's addresses for its protocol, and the policies for who sends.

    a peer ──► socket ──► Endpoint: judged at the first datagram ──► the pod's protocol
       ▲                                                                 │
       └────────────── EndpointTransport: judged likewise ◄──────────────┘

What came to a Service's address (`udp.py`) is delivered here, too; its answers leave from there.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, cast

from minikube_py.cni.accept import Address
from minikube_py.cni.datagrams import BatchProtocol
from minikube_py.cni.drop import DatagramFilter
from minikube_py.cni.mmsg import Datagram
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric
    from minikube_py.cni.namespace import NetworkNamespace
    from minikube_py.cni.udp import DatagramFlow, Via

__all__ = ["ASSURED", "MOST_FLOWS", "Endpoint", "EndpointTransport", "Refusals"]

logger = logging.getLogger(__name__)

ASSURED = 180.0
"""Seconds without a datagram after which a flow is a new one (nf_conntrack_udp_timeout_stream)."""

MOST_FLOWS = 65536
"""Per socket; nf_conntrack_max of a small machine."""


class Refusals:
    """Whom policy has denied, kept until policies change: each is judged, and told of, once."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._generation = fabric.generation
        self._refused: dict[Hashable, None] = {}

    def __contains__(self, who: Hashable) -> bool:
        if self._generation != self._fabric.generation:
            self._generation = self._fabric.generation
            self._refused.clear()
        return who in self._refused

    def add(self, who: Hashable) -> None:
        if len(self._refused) >= MOST_FLOWS:
            self._refused.clear()
        self._refused[who] = None


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
        self.via: dict[Address, Via] = {}
        self.transport: EndpointTransport | None = None
        self.filter: DatagramFilter | None = None
        """Of a server's socket, where denials are drops."""
        self._peer = peer
        self._seen: dict[Address, float] = {}
        self._refused = Refusals(namespace.fabric)
        self.context = contextvars.copy_context()
        self._now = asyncio.get_running_loop().time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = EndpointTransport(self, cast(asyncio.DatagramTransport, transport), self._peer)
        self.inner.connection_made(self.transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        source = (addr[0], addr[1])
        now = self._now()
        if self._peer is None and now - self._seen.get(source, -ASSURED) >= ASSURED and not self._may_receive(source):
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
            if now - seen.get(source, -ASSURED) >= ASSURED and not self._may_receive(source):
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
            answers: list[Datagram] = self.context.run(self.inner.datagrams_received, received)
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

    def deliver(self, data: bytes, client: Address, via: Via) -> None:
        """Take a datagram that came to a Service's address; answers leave from there."""
        self.via[client] = via
        self.namespace.count(received=len(data))
        try:
            self.context.run(self.inner.datagram_received, data, client)
        except Exception:
            logger.exception("datagram failed pod=%s port=%d", self.namespace, self.port)

    def deliver_batch(self, received: list[Datagram], flows: dict[Address, DatagramFlow]) -> list[Datagram]:
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
        if now - self._seen.get(target, -ASSURED) >= ASSURED:
            namespace = self.namespace
            real = namespace.real_address(*target)
            fresh = now - self._seen.get(real, -ASSURED) < ASSURED
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
        if (peer, flow.source) in self._refused:
            return False
        fabric = self.namespace.fabric
        verdict = fabric.gate.check(flow)
        if verdict.allowed:
            return True
        fabric.denied(flow, verdict)
        self._refused.add((peer, flow.source))
        return False

    def _note(self, peer: Address, now: float) -> None:
        if peer not in self._seen and len(self._seen) >= 1024:
            self._expire(now)
        self._seen[peer] = now

    def _expire(self, now: float) -> None:
        self._seen = {peer: seen for peer, seen in self._seen.items() if now - seen < ASSURED}
        if len(self._seen) >= MOST_FLOWS:
            self._seen.clear()
