"""httpx clients that are a pod: its source address, its names, its policies.

Only the connect step is replaced (httpcore's network backend), so everything else is httpx as it is. httpx has no
public way to hand a backend to its transports: `_pool` is the one private attribute that we set.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from minikube_py.cluster.caller import Caller, outside, pod_caller
from minikube_py.cluster.targets import pod_of
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.testing.session import Session

__all__ = ["async_client", "sync_client"]

_POLL = 0.02
"""Seconds between two looks whether a policy that denies was lifted meanwhile."""


class _Identity:
    """Who connects, and whether it may."""

    def __init__(self, session: "Session", from_pod: str | None, namespace: str) -> None:
        local = session.local
        self._session = session
        self.caller: Caller = session.call(
            lambda: (
                pod_caller(pod_of(local.operations, from_pod, namespace), local.facts())
                if from_pod
                else outside(local.operations, local.facts())
            )
        )

    def denied(self, address: str, port: int, *, again: bool = False) -> str | None:
        """Return why the pod's egress to a pod or the outside is denied; Services are judged behind their address.

        A denial is noted as the cluster notes its own, unless it is judged `again`.
        """
        local = self._session.local
        if not self.caller.ip or local.is_service_address(address):
            return None
        flow = Flow(self.caller.ip, address, port)

        def judge() -> str | None:
            verdict = local.gate.check(flow)
            if verdict.allowed:
                return None
            if not again:
                local.fabric.denied(flow, verdict)
            return verdict.because

        return self._session.call(judge)

    def timed_out(self, since: float) -> httpcore.ConnectTimeout:
        """Return the error of a connect without an answer, with the denial that the cluster has noted."""
        local = self._session.local
        source = self.caller.ip or "127.0.0.1"
        noted = self._session.call(lambda: local.denials(source=source, since=since))
        return httpcore.ConnectTimeout(f"timed out: {noted[-1]['because']}" if noted else "timed out")

    def connect_error(self, host: str, error: socket.gaierror) -> httpcore.ConnectError:
        notes = getattr(error, "__notes__", ())
        return httpcore.ConnectError(f"{error.strerror}: {host}" + (f" ({notes[0]})" if notes else ""))


class _Backend(httpcore.NetworkBackend):
    def __init__(self, identity: _Identity) -> None:
        self._identity = identity
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        caller = self._identity.caller
        try:
            address, real = caller.locate(host, port)
        except socket.gaierror as error:
            raise self._identity.connect_error(host, error) from error
        deadline = None if timeout is None else time.monotonic() + timeout
        why = self._identity.denied(address, port)
        while why:
            if deadline is not None and time.monotonic() >= deadline:
                raise httpcore.ConnectTimeout(f"timed out: {why}")
            time.sleep(_POLL)
            why = self._identity.denied(address, port, again=True)
        begun = time.time()
        try:
            return self._sockets.connect_tcp(address, real, timeout, caller.ip or None, socket_options)
        except httpcore.ConnectTimeout as error:
            raise self._identity.timed_out(begun) from error

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, identity: _Identity) -> None:
        self._identity = identity
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        caller = self._identity.caller
        try:
            address, real = await asyncio.to_thread(caller.locate, host, port)
        except socket.gaierror as error:
            raise self._identity.connect_error(host, error) from error
        deadline = None if timeout is None else time.monotonic() + timeout
        why = self._identity.denied(address, port)
        while why:
            if deadline is not None and time.monotonic() >= deadline:
                raise httpcore.ConnectTimeout(f"timed out: {why}")
            await asyncio.sleep(_POLL)
            why = self._identity.denied(address, port, again=True)
        begun = time.time()
        try:
            return await self._sockets.connect_tcp(address, real, timeout, caller.ip or None, socket_options)
        except httpcore.ConnectTimeout as error:
            raise self._identity.timed_out(begun) from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Trust(ssl.SSLContext):
    """Trusts what the machine trusts, and the cluster's own authority; reads them (30 ms) at the first handshake."""

    session: "Session | None"

    @classmethod
    def of(cls, session: "Session") -> "_Trust":
        made = cls(ssl.PROTOCOL_TLS_CLIENT)
        made.session = session
        return made

    def _load(self) -> None:
        if self.session is not None:
            local = self.session.local
            self.load_default_certs()
            self.load_verify_locations(cadata=self.session.call(lambda: local.credentials.authority.cert_pem).decode())
            self.session = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        self._load()
        return super().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        self._load()
        return super().wrap_bio(*arguments, **options)


def _pool_options(session: "Session", options: Mapping[str, Any]) -> dict[str, Any]:
    verify = options.get("verify", True)
    return {
        "ssl_context": _Trust.of(session) if verify is True else httpx.create_ssl_context(verify=verify),
        "max_connections": 100,
        "max_keepalive_connections": 20,
        "keepalive_expiry": 5.0,
    }


def sync_client(session: "Session", from_pod: str | None, namespace: str, options: dict[str, Any]) -> httpx.Client:
    """Return an httpx.Client that calls as `from_pod`, or from outside the cluster."""
    identity = _Identity(session, from_pod, namespace)
    transport = httpx.HTTPTransport(verify=False)
    transport._pool.close()
    transport._pool = httpcore.ConnectionPool(network_backend=_Backend(identity), **_pool_options(session, options))
    return httpx.Client(transport=transport, trust_env=False, **options)


def async_client(
    session: "Session", from_pod: str | None, namespace: str, options: dict[str, Any]
) -> httpx.AsyncClient:
    """Return an httpx.AsyncClient that calls as `from_pod`, or from outside the cluster."""
    identity = _Identity(session, from_pod, namespace)
    transport = httpx.AsyncHTTPTransport(verify=False)
    transport._pool = httpcore.AsyncConnectionPool(
        network_backend=_AsyncBackend(identity), **_pool_options(session, options)
    )
    return httpx.AsyncClient(transport=transport, trust_env=False, **options)
