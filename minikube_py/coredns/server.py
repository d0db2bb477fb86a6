"""CoreDNS as a pod's program: its life by the Corefile, and its ports.

    UDP, TCP :53 (queries.py)   :9153/metrics   :8080/health   :8181/ready

Stands for the coredns binary. Left out: DNS over TLS, HTTPS and QUIC, zone transfers, health checks of upstreams.
"""

import asyncio
import functools
import itertools
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.client.api import API
from minikube_py.cni.namespace import LOOPBACK
from minikube_py.cni.resolvconf import ResolvConf
from minikube_py.coredns.agent import CorefileWatch, ZoneAgent
from minikube_py.coredns.corefile import CorefileError, default_corefile, parse
from minikube_py.coredns.engine import Engine
from minikube_py.coredns.metrics import Metrics
from minikube_py.coredns.plugins import Block, Context, build
from minikube_py.coredns.plugins.plugin import Upstream
from minikube_py.coredns.queries import Datagrams, Queries
from minikube_py.coredns.querylog import QueryLog
from minikube_py.coredns.upstreams import Upstreams
from minikube_py.images.container import Container, Main

__all__ = ["program"]

_HTTP_IDLE = 10.0
"""Seconds in which the head of a request must be here."""


def program(
    api: API,
    clock: Clock,
    *,
    domain: str = "cluster.local",
    upstreams: Sequence[str] = (),
    host: str = "0.0.0.0",
    chance: random.Random | None = None,
) -> Main:
    """Return CoreDNS as an image's `main`; every container that runs it shares one watch of the API.

    It serves by the `coredns` ConfigMap of its own namespace, else by a mounted Corefile, else by kubeadm's.
    `upstreams` (`ADDRESS[:PORT]`) are what `/etc/resolv.conf` in a forward line means; empty: this machine's own.
    `host` is the address to bind; a pod's loop takes 0.0.0.0 for the pod's.
    """
    agent = ZoneAgent(api, clock)

    async def main(container: Container) -> int:
        server = _Server(container, api, clock, agent, domain, upstreams, host, chance or random.Random())
        return await server.run()

    return main


def host_upstreams() -> tuple[str, ...]:
    """Return this machine's nameservers."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            return ResolvConf.parse(file.read()).nameservers
    except OSError:
        return ()


def _upstream(text: str) -> Upstream:
    """Return a nameserver of the machine: its 127.0.0.1 is not the pod."""
    match = re.fullmatch(r"(.*\..*):(\d+)", text)
    address, port = (match[1], int(match[2])) if match else (text, 53)
    return Upstream(address, port, address in LOOPBACK)


class _Server:
    """One container's CoreDNS."""

    def __init__(
        self,
        container: Container,
        api: API,
        clock: Clock,
        agent: ZoneAgent,
        domain: str,
        upstreams: Sequence[str],
        host: str,
        chance: random.Random,
    ) -> None:
        self.container = container
        self.clock = clock
        self.agent = agent
        self.log = QueryLog(container.write, clock)
        self.metrics = Metrics("dns://:53")
        self.scope = TaskScope(f"coredns/{container.pod.name}")
        self.upstreams = Upstreams(self.scope, clock, chance)
        self.queries = Queries(self.scope, self.upstreams, self.metrics, self.log, container.print)
        self._api = api
        self._domain = domain
        self._host = host
        self._given = upstreams
        self._engines: dict[int, Engine] = {}
        self._blocks: list[Block] = []
        self._closers: list[Callable[[], Awaitable[None] | None]] = []
        self._reload: asyncio.Event = asyncio.Event()

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        container = self.container
        watch = CorefileWatch(self._api, container.pod.namespace, lambda text: self._reload.set())
        self.agent.open()
        try:
            text = watch.text or self._read_file(self._conf_path()) or default_corefile(self._domain)
            try:
                blocks = self._build(text)
            except CorefileError as error:
                container.print(str(error))
                return 1
            await self._open(blocks)
            self._announce(text)
            container.started()
            await self._serve(watch)
            container.print("[INFO] SIGTERM: Shutting down servers then terminating")
            lameduck = max((block.lameduck for block in self._blocks), default=0.0)
            if lameduck:
                container.print(f"[INFO] plugin/health: Going into lameduck mode for {lameduck:g}s")
                await self.clock.sleep(lameduck)
            return 0
        finally:
            watch.close()
            await self._close()
            await self.scope.close()
            self.log.close()
            self.agent.close()

    async def _serve(self, watch: CorefileWatch) -> None:
        """Serve until SIGTERM, loading each new Corefile as `reload` says."""
        ended = self.scope.spawn(self.container.terminated.wait(), name="terminated")
        while not self.container.terminated.is_set():
            changed = self.scope.spawn(self._reload.wait(), name="reload")
            await asyncio.wait((ended, changed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self._reload.is_set() and not self.container.terminated.is_set():
                self._reload.clear()
                if any(block.reload for block in self._blocks):
                    await self._reloaded(watch.text or "")

    async def _reloaded(self, text: str) -> None:
        container = self.container
        container.print("[INFO] Reloading")
        try:
            blocks = self._build(text)
        except CorefileError as error:
            container.print(f"[ERROR] Restart failed: {error}")
            container.print("[ERROR] plugin/reload: Corefile changed but reload failed: the old one stays in force")
            return
        if _listeners(blocks) == _listeners(self._blocks):
            self._blocks = blocks
            for port, engine in self._engines.items():
                engine.use([block for block in blocks if block.port == port])
        else:
            await self._close()
            await self._open(blocks)
        self.upstreams.cache.clear()
        self._announce(text)
        container.print("[INFO] Reloading complete")

    def _announce(self, text: str) -> None:
        import hashlib

        for block in self._blocks:
            for zone in block.zones:
                self.container.print(f"{zone}:{block.port}")
            for warning in block.warnings:
                self.container.print(f"[WARNING] {warning}")
        digest = hashlib.sha512(text.encode()).hexdigest()
        self.container.print(f"[INFO] plugin/reload: Running configuration SHA512 = {digest}")
        self.container.print("CoreDNS stand-in of minikube-py")

    def _build(self, text: str) -> list[Block]:
        given = self._given or host_upstreams()
        context = Context(tuple(map(_upstream, given)), self._read_file, self._own_addresses())
        blocks = [build(block, context) for block in parse(text, dict(self.container.env))]
        if not blocks:
            raise CorefileError(1, "Error during parsing: there is no server block (such as `.:53 { ... }`)")
        if any(block.verified_pods for block in blocks):
            self.agent.watch_pods()
        return blocks

    def _own_addresses(self) -> tuple[str, ...]:
        """Return this pod's address and those of the Services before it: forwarding there would be a loop."""
        ip = self.container.pod.ip
        zone = self.agent.zone
        services = [address for key in zone.endpoints_by_ip.get(ip, ()) for address in zone.services[key].cluster_ips]
        kube_dns = self._api.get("services", "kube-dns", self.container.pod.namespace)
        cluster_ip = (kube_dns or {}).get("spec", {}).get("clusterIP")
        return tuple(dict.fromkeys(filter(None, (ip, *services, cluster_ip))))

    def _conf_path(self) -> str:
        argv = self.container.argv
        for before, path in itertools.pairwise(argv):
            if before in ("-conf", "--conf"):
                return path
        return "/etc/coredns/Corefile"

    def _read_file(self, path: str) -> str | None:
        """Return a file of the container's mounts; None if there is none."""
        for mount, source in self.container.files.items():
            target = source if path == mount else source / path.removeprefix(f"{mount.rstrip('/')}/")
            if (path == mount or path.startswith(f"{mount.rstrip('/')}/")) and target.is_file():
                return target.read_text("utf-8", "replace")
        return None

    async def _open(self, blocks: list[Block]) -> None:
        self._blocks = blocks
        loop = asyncio.get_running_loop()
        try:
            for port in dict.fromkeys(block.port for block in blocks):
                engine = Engine(self.agent, [block for block in blocks if block.port == port], self.queries.fold)
                self._engines[port] = engine
                transport, _ = await loop.create_datagram_endpoint(
                    functools.partial(Datagrams, self.queries, engine), local_addr=(self._host, port)
                )
                self._closers.append(transport.close)
                await self._listen(functools.partial(self.queries.connection, engine), self._host, port)
            for listen, page in self._pages(blocks):
                await self._listen(functools.partial(self._http, page), listen[0] or self._host, listen[1])
        except BaseException:
            await self._close()
            raise

    def _pages(self, blocks: list[Block]) -> list[tuple[tuple[str, int], Callable[[str], tuple[int, str]]]]:
        pages: dict[tuple[str, int], Callable[[str], tuple[int, str]]] = {}
        for block in blocks:
            for listen, page in (
                (block.health, self._health),
                (block.ready, self._ready),
                (block.metrics, self._scrape),
            ):
                if listen:
                    pages.setdefault(listen, page)
        return list(pages.items())

    async def _listen(self, serve: Callable[..., Any], host: str, port: int) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.scope.spawn(serve(reader, writer), name=f"tcp:{port}")

        server = await asyncio.start_server(connected, host, port)

        async def close() -> None:
            server.close()
            await server.wait_closed()

        self._closers.append(close)

    async def _close(self) -> None:
        while self._closers:
            closing = self._closers.pop()()
            if closing is not None:
                await closing
        for engine in self._engines.values():
            engine.forget()
        self._engines.clear()

    # -- HTTP ----------------------------------------------------------------------------------------------------

    def _health(self, path: str) -> tuple[int, str]:
        return (200, "OK") if path == "/health" else (404, "404 page not found\n")

    def _ready(self, path: str) -> tuple[int, str]:
        if path != "/ready":
            return 404, "404 page not found\n"
        return (200, "OK") if self.agent.zone.synced else (503, "kubernetes")

    def _scrape(self, path: str) -> tuple[int, str]:
        if path != "/metrics":
            return 404, "404 page not found\n"
        for engine in self._engines.values():
            engine.fold()
        cache = self.upstreams.cache
        gauges = {
            "coredns_cache_entries": len(cache),
            "coredns_cache_hits_total": cache.hits,
            "coredns_cache_misses_total": cache.misses,
            "coredns_forward_max_concurrent_rejects_total": self.upstreams.rejected,
            "coredns_panics_total": self.queries.panics,
        }
        enabled = [(zone, name) for block in self._blocks for zone in block.zones for name in block.enabled]
        return 200, self.metrics.text(dict(gauges), dict.fromkeys(enabled))

    async def _http(
        self, page: Callable[[str], tuple[int, str]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one GET and close: enough for a scrape and a probe."""
        try:
            async with asyncio.timeout(_HTTP_IDLE):
                head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].split(b"?")[0].decode("latin-1")
            status, text = page(path)
            reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
            body = text.encode()
            writer.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, TimeoutError, OSError):
            return  # not a request, or the client is gone
        finally:
            writer.close()


def _listeners(blocks: list[Block]) -> set[Any]:
    return {(block.port, block.health, block.ready, block.metrics) for block in blocks}
