"""Thousands of requests while rules, endpoints and pods change all the time: none fails that could have been served.

REQUESTS in the environment says how many.
"""

import asyncio
import os
import random
import ssl
from collections import Counter
from dataclasses import dataclass, field

import pytest

from minikube_py.apimachinery import meta

from .support import PORT, World, endpoints, ingress, path, service
from .tls.test_certificates import Authority

REQUESTS = int(os.environ.get("REQUESTS", "10000"))
CALLERS = 12
HOSTS = ("shop.test", "other.test")


@dataclass
class Pod:
    """A server that can be killed: its port is closed and its connections are reset, answers half-way included."""

    address: str
    server: asyncio.Server | None = None
    transports: set[asyncio.Transport] = field(default_factory=set)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Server(self), self.address, PORT)

    def stop(self) -> None:
        """Accept nothing more; what is open may end."""
        assert self.server is not None
        self.server.close()

    def kill(self) -> None:
        self.stop()
        for each in [*self.transports]:
            each.abort()


class _Server(asyncio.Protocol):
    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._pod.transports.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pod.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or b"0"):
            self._got = b""
            # not at once, so that a kill finds requests under way
            asyncio.get_running_loop().call_later(0.001, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Weather:
    """What changes: rules come and go, annotations change, pods are replaced, scaled and killed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(7)
        self._pods: list[Pod] = []
        self._ending: list[Pod] = []
        self._gone: list[Pod] = []
        self._turn = 0
        self.done: Counter[str] = Counter()

    async def fair(self) -> None:
        """Set up what will not change: two hosts, three pods."""
        for _ in range(3):
            await self._another()
        self._world.create(service("web"), endpoints("web", self._addresses()))
        for host in HOSTS:
            made = ingress(host.partition(".")[0], {host: [path("web")]}, tls=[{"hosts": [host]}])
            made["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/ssl-redirect": "false"}
            self._world.create(made)

    def _addresses(self) -> list[str]:
        return [each.address for each in self._pods]

    async def _another(self) -> None:
        # addresses are used again after a while, as IPAM does
        pod = Pod(self._gone.pop(0).address if len(self._gone) > 20 else self._world.address())
        await pod.start()
        self._pods.append(pod)

    def _told(self) -> None:
        self._world.api.update(meta.copy(endpoints("web", self._addresses())))

    async def change(self) -> None:
        """Make one change, whichever comes."""
        self._turn += 1
        what = self._chance.choice(("rule", "annotation", "replace", "scale", "kill"))
        self.done[what] += 1
        match what:
            case "rule":
                self._world.create(ingress(f"extra-{self._turn}", {f"h{self._turn}.test": [path("web")]}))
                if self._turn % 2:
                    self._world.api.delete("ingresses.networking.k8s.io", f"extra-{self._turn}", "default")
            case "annotation":
                made = meta.copy(self._world.api.get("ingresses.networking.k8s.io", "shop", "default") or {})
                made["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"] = str(60 + self._turn)
                self._world.api.update(made)
            case "replace":  # as a rollout does: the new one is ready before the old one goes
                old = self._pods.pop(0)
                await self._another()
                self._told()
                self._end(old)
            case "scale":
                if len(self._pods) > 4:
                    old = self._pods.pop()
                    self._told()
                    self._end(old)
                else:
                    await self._another()
                    self._told()
            case "kill":  # nobody is told before it has happened
                await self._another()
                self._told()
                victim = self._pods.pop(0)
                victim.kill()
                self._gone.append(victim)
                for _ in range(50):
                    await asyncio.sleep(0)
                self._told()

    def _end(self, pod: Pod) -> None:
        """Let a pod go that is no endpoint any more: it serves on for a while, as one does that is Terminating."""
        self._ending.append(pod)
        if len(self._ending) > 3:
            self._ending[0].stop()
            self._gone.append(self._ending.pop(0))

    def clear(self) -> None:
        for each in (*self._pods, *self._ending, *self._gone):
            each.kill()


@dataclass
class Requests:
    """What callers ask, in turns: keep-alive and new connections, HTTP and HTTPS, aiohttp's way and the fast one."""

    world: World
    trust: ssl.SSLContext
    left: int = REQUESTS
    bad: list[str] = field(default_factory=list)

    async def caller(self, number: int) -> None:
        secure, anew = bool(number % 2), bool(number // 2 % 2)
        host = HOSTS[number % len(HOSTS)]
        extra = b"Connection: close\r\n" if anew else b""
        if number // 4 % 2:
            extra += b"X-Request-ID: a\r\n"  # not simple
        request = b"GET /%d HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (number, host.encode(), extra)
        reader = writer = None
        while self.left > 0:
            self.left -= 1
            if writer is None:
                reader, writer = await asyncio.open_connection(
                    self.world.address_of_controller,
                    self.world.https_port if secure else self.world.http_port,
                    ssl=self.trust if secure else None,
                    server_hostname=host if secure else None,
                )
            assert reader is not None
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 ") or await reader.readexactly(2) != b"ok":
                    self.bad.append(head.decode())
                    return
            except (OSError, asyncio.IncompleteReadError) as error:
                self.bad.append(f"{request!r}: {error!r}")
                return
            if anew:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()


@pytest.mark.slow
@pytest.mark.timeout(300)  # ten thousand requests, on a busy machine
async def test_no_request_fails_while_everything_changes(fresh: World) -> None:
    """Rules come and go, pods are replaced, scaled and killed: every GET is answered, over HTTP and HTTPS."""
    authority = Authority()
    await fresh.start(certificate_authority=authority)
    weather = Weather(fresh)
    await weather.fair()
    requests = Requests(fresh, authority.trust())
    callers = [asyncio.ensure_future(requests.caller(number)) for number in range(CALLERS)]
    try:
        while not all(each.done() for each in callers):
            await weather.change()
            before = requests.left
            while before - requests.left < 2 * CALLERS and not all(each.done() for each in callers):
                await asyncio.sleep(0)  # everybody's turn: no request lives through two changes
        for each in callers:
            each.result()
    finally:
        weather.clear()
    assert not requests.bad
    assert min(weather.done.values()) > 3
    counted = fresh.container.extra["proxy"].requests
    assert sum(counted.values()) >= REQUESTS
