"""The controller's own port, 10254: `/healthz` for probes, `/metrics` with the requests per rule and backend.

Listened on only where the pod's manifest names the port, as ingress-nginx's own manifests do.
Left out: all other metrics of ingress-nginx.
"""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

__all__ = ["PORT", "handler", "metrics"]

PORT = 10254


def metrics(requests: Mapping[tuple[str, str], int]) -> str:
    """Return (rule, backend) → count in Prometheus' text format."""
    name = "nginx_ingress_controller_requests"
    lines = [f"# HELP {name} The total number of client requests", f"# TYPE {name} counter"]
    for (rule, backend), count in sorted(requests.items()):
        lines.append(f'{name}{{rule="{_escaped(rule)}",backend="{_escaped(backend)}"}} {count}')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def handler(requests: Mapping[tuple[str, str], int]) -> Callable[[BaseRequest], Awaitable[StreamResponse]]:
    """Return what `aiohttp.web.Server` takes."""

    async def handle(request: BaseRequest) -> StreamResponse:
        if request.path == "/healthz":
            return Response(text="ok")
        if request.path == "/metrics":
            return Response(text=metrics(requests), content_type="text/plain")
        return Response(status=404, text=f"404 Not Found: this port has /healthz and /metrics, not {request.path}\n")

    return handle
