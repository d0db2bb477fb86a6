"""Upgrades: which are passed on, and after one, bytes both ways as they are."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minikube_py.ingress.http1.messages import Head
from minikube_py.ingress.http1.pool import Closed, Connection
from minikube_py.ingress.proxy.inbound import Inbound
from minikube_py.ingress.proxy.relaying import answer_fields

if TYPE_CHECKING:
    from minikube_py.ingress.proxy.exchange import Exchange

__all__ = ["tunnel", "wanted_upgrade"]

_PROTOCOLS = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z/]+(?:[ \t]*,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z/]+)*")
_PAST_THE_RULES = frozenset({"h2c", "http", "tls"})
"""Protocols in which requests would reach a pod that no rule and no filter has seen."""


def wanted_upgrade(headers: Mapping[str, str]) -> str:
    """Return the protocols that an HTTP/1.1 request offers to change to, as sent; "" for none.

    ingress-nginx passes them all on; here not h2c and its like, by which callers get past the rules.
    """
    offered = headers.get("Upgrade", "")
    if not offered or _PROTOCOLS.fullmatch(offered) is None:
        return ""
    if "upgrade" not in (each.strip().lower() for each in headers.get("Connection", "").split(",")):
        return ""
    protocols = {each.strip().lower().partition("/")[0] for each in offered.split(",")}
    return "" if protocols & _PAST_THE_RULES else offered


class _Tunnel:
    """aiohttp's parser slot after an upgrade: what the caller sends goes to the backend as it is."""

    def __init__(self, request: Inbound, upstream: Connection, timeout: float) -> None:
        self._request = request
        self._upstream = upstream
        self._timeout = timeout
        upstream.on_writable = self._resume

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._upstream.touch(self._timeout)
        self._upstream.write(data)
        if self._upstream.writing_paused:
            self._request.pause()
        return not self._upstream.usable, b""

    def _resume(self) -> None:
        self._request.resume()

    def feed_eof(self) -> None:
        self._upstream.close()


async def tunnel(exchange: "Exchange", connection: Connection, head: Head, upgrade: str) -> None:
    """Answer 101 and carry bytes until either side ends."""
    request = exchange.request
    if request.gone:
        raise Closed("the caller is gone", clean=False)
    exchange.begun = True
    exchange.record.status = 101
    timeout = exchange.options.read_timeout
    fields = answer_fields(exchange, head)
    request.switch(fields, upgrade, _Tunnel(request, connection, timeout))
    try:
        while data := await connection.read(timeout):
            exchange.record.sent += len(data)
            request.write(data)
            if request.paused:
                await request.drain()
    except (TimeoutError, Closed):
        return  # either side may end a tunnel at any time
