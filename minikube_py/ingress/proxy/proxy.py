"""What all requests of one controller share: pools, balancer, counters; and the request handler for aiohttp.

    aiohttp (llhttp) ─► Inbound1 ┐
    h2               ─► Inbound2 ┴► Exchange ─► RoutingTable.route ─► filters ─► endpoint ─► Outbound ─► Inbound

aiohttp terminates HTTP/1 and owns the caller's connection; the answer is written to its transport as it comes, without
being built up as an aiohttp response (that would cost more than the rest together).

Error handling: refused or broken → 502 (after other endpoints were tried), silent → 504, no endpoint → 503, no rule →
404; each page says why. An answer that breaks off half-way breaks off for the caller too: its connection is closed.
Left out: trailers of HTTP/1.1 requests (nginx drops them too; HTTP/2's are passed on).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.http1.inbound import Inbound1
from minikube_py.ingress.http1.pool import Connection, Pool
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.accesslog import Record, line
from minikube_py.ingress.proxy.balancer import Balancer
from minikube_py.ingress.proxy.exchange import Exchange
from minikube_py.ingress.proxy.inbound import Inbound
from minikube_py.ingress.proxy.outbound import Outbound, Outbounds
from minikube_py.ingress.proxy.pages import NGINX, Rejected, Style, page
from minikube_py.ingress.router import Endpoint, RoutingTable

if TYPE_CHECKING:
    from minikube_py.ingress.http2.pool import Pool2

__all__ = ["Proxy"]

logger = logging.getLogger(__name__)


class _Relayed(StreamResponse):
    """Tells aiohttp that the answer is already written, and whether the connection stays."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


class Proxy:
    """Serves requests by the table that `table()` returns at that moment.

    Resource handling: `close()` closes idle connections; tasks are in `scope`, its owner's.
    """

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        *,
        clock: Clock,
        scope: TaskScope,
        write: Callable[[str], None],
        https_port: Callable[[], int] = lambda: 443,
        chance: random.Random | None = None,
        style: Style = NGINX,
        port: int = 0,
    ) -> None:
        self.style = style
        self.pool = Pool(clock)
        self._pool2: Pool2 | None = None
        self.balancer = Balancer()
        self.requests: dict[tuple[str, str], int] = {}
        """(rule, backend) → requests answered; "" for none."""
        self.table = table
        self.clock = clock
        self.scope = scope
        self.write = write
        self.https_port = https_port
        """The port by which callers outside reach HTTPS."""
        self.port = port
        """The listener's port inside the cluster, where it matters (Gateways)."""
        self.chance = chance or random.Random()
        self.state: dict[Any, Any] = {}
        """What filters remember across routing tables (rate limits)."""
        self._stays = _Relayed(True)
        self._closes = _Relayed(False)

    def close(self) -> None:
        self.pool.close()
        if self._pool2 is not None:
            self._pool2.close()

    def pool_for(self, options: Options) -> Outbounds:
        """Return where requests with these settings get their connections."""
        if options.protocol not in ("GRPC", "GRPCS"):
            return self.pool
        if self._pool2 is None:
            from minikube_py.ingress.http2.pool import Pool2  # 40 ms, for whoever has gRPC

            self._pool2 = Pool2(self.clock)
        return self._pool2

    def release(self, connection: Outbound) -> None:
        """Take back a connection whose answer has ended."""
        if isinstance(connection, Connection):
            self.pool.release(connection)
        else:
            connection.close()

    def retain(self, endpoints: Collection[Endpoint]) -> None:
        """Let go of connections to endpoints that are no more."""
        self.pool.retain(endpoints)
        if self._pool2 is not None:
            self._pool2.retain(endpoints)

    def count(self, rule: str, backend: str) -> None:
        """Count an answered request."""
        self.requests[rule, backend] = self.requests.get((rule, backend), 0) + 1

    def forget(self, served: frozenset[Key]) -> None:
        """Drop the state (rate limits) of Ingresses that are no more."""
        for key in [each for each in self.state if each[1] not in served]:
            del self.state[key]

    def handler(self, *, secure: bool) -> Callable[[BaseRequest], Awaitable[StreamResponse]]:
        """Return the request handler for one listener (`aiohttp.web.Server`'s argument)."""

        async def handle(request: BaseRequest) -> StreamResponse:
            inbound = Inbound1(request)
            await self.serve(inbound, secure=secure)
            return self._stays if inbound.keep_alive else self._closes

        return handle

    def reject(self, request: BaseRequest, status: int, because: str) -> StreamResponse:
        """Answer what isn't HTTP with a page, and close."""
        record = Record(request.remote or "-", "", status)
        made = page(status, because, now=self.clock.now(), style=self.style)
        record.sent = len(made.body)
        inbound = Inbound1(request)
        inbound.keep_alive = False
        inbound.begin(status, made.reason, made.fields, sized=True)
        inbound.finish(made.body)
        self.write(line(record, self.clock.now()) + "\n")
        return self._closes

    async def serve(self, request: Inbound, *, secure: bool) -> None:
        """Answer one request."""
        exchange = Exchange(self, request, secure, self.clock.now())
        try:
            await exchange.run()
        except Rejected as rejected:
            exchange.answer(rejected.status, rejected.because)
        except asyncio.CancelledError:
            exchange.record.status = exchange.record.status or 499  # nginx: the client closed the request
            raise
        except HTTPException:
            raise
        except ConnectionError:
            exchange.broken()
        except Exception:
            logger.exception("ingress request failed request=%s", exchange.record.request)
            exchange.failed()
        finally:
            exchange.end()
