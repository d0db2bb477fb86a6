"""Why a URL is answered or not: the walk through the ingress controllers and Gateways, and a real GET beside it.

    class or gateway ─► tls ─► rule ─► filters ─► backend ─► egress, ingress, listen        the model
    probe            one GET by the controller's own address, found again in its access log

A probe that comes out otherwise is a bug of ours. It is a real request: an app that counts its visitors counts it.
"""

import asyncio
import re
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Key
from minikube_py.cluster.ingress import answers
from minikube_py.cluster.probing import Outcome, Probe
from minikube_py.cluster.targets import UnknownTarget
from minikube_py.cluster.why import hops_from
from minikube_py.cluster.why_answer import Hop, Why
from minikube_py.cluster.why_reasons import reasons
from minikube_py.cluster.wiring import GRPC_HEADERS, routes
from minikube_py.cni.types import Flow
from minikube_py.ingress.explain import Walk, explain, farthest
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.rules.sources import GATEWAY_CLASSES, GATEWAY_RESOURCES, GATEWAYS, RESOURCES, Sources

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster

__all__ = ["WhyURL", "why_url"]

_TRIES = 3
_PATIENCE = 2.0
"""Seconds that the probe waits for an answer's head, and for the rest of it."""
_MOST = 1 << 20
"""Bytes of an answer that the probe reads."""
_USUAL = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WhyURL(Why):
    """The answer to `why URL`."""

    verdict: bool | None = None
    """Whether the probe came out as foretold."""

    @property
    def agrees(self) -> bool | None:
        return self.verdict


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a probe got."""

    status: int = 0
    """0: no answer."""
    because: str = ""
    """Why the controller itself answered; "" for a pod's answer."""
    endpoint: str = ""
    """`ip:port` of the pod, by the access log; "" if it isn't there."""
    refused: bool = False


async def why_url(cluster: "LocalCluster", url: str, *, measured: bool = True) -> WhyURL:
    """Walk a URL from outside, by the rules as they are now.

    Error handling: UnknownTarget for what is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in _USUAL or not parts.hostname:
        raise UnknownTarget(f"{url} is no URL of a host: write http://host/path or https://host/path")
    for _ in range(_TRIES):
        answer = await _ask(cluster, url, parts, measured=measured)
        if answer.agrees is not False:
            break  # else something has changed between the walk and the probe, or it is a bug
    return answer


async def _ask(cluster: "LocalCluster", url: str, parts: SplitResult, *, measured: bool) -> WhyURL:
    port = _inside(cluster, parts)
    walk = _walk(cluster, parts, port)
    hops = [Hop(step.name, step.text, "ok" if step.ok else "FAILED", step.details) for step in walk.steps]
    fix = list(walk.fix)
    if (nobody := _nobody(cluster, walk)) is not None:
        walk = replace(walk, endpoints=(), status=0)
        hops, fix = [nobody], list(_start(cluster, walk))
    if walk.backend is not None and not walk.endpoints and hops[-1].name == "backend":
        more_details, more_fix = _behind(cluster, walk.backend)
        hops[-1] = replace(hops[-1], details=(*hops[-1].details, *more_details))
        fix += more_fix
    policies: tuple[str, ...] = ()
    denied = False
    if walk.endpoints and not walk.status and (controller := _controller(cluster, walk)):
        flows = [
            Flow(controller, each.address, each.port, "TCP") for each in walk.endpoints if _is_address(each.address)
        ]
        if flows:
            more, hints, policies = hops_from(cluster, controller, flows)
            denied = any(hop.state not in ("ok", "-") for hop in more)
            hops += more
            fix += hints
    said = parts.port or _USUAL[parts.scheme]
    found = WhyURL("outside (127.0.0.1)", url, said, "TCP", tuple(hops), None, tuple(fix), policies)
    if not measured or walk.service is None:
        return found
    if (ip := _address(cluster, walk.service)) is None:
        return found
    seen = await _probe(cluster, walk, ip, port, parts)
    real = cluster.fabric.real_address(ip, port)
    how = "gRPC call" if _is_grpc(cluster, parts) else "GET"
    text = f"real {how} to {real[0]}:{real[1]}: {_told(seen, hops[-1].text)}"
    outcome = Outcome.CONNECTED if seen.status else Outcome.REFUSED if seen.refused else Outcome.SILENT
    verdict = not seen.status if nobody is not None else _judged(walk, seen, denied=denied)
    return replace(found, probe=Probe(outcome, "127.0.0.1", text), verdict=verdict)


def _behind(cluster: "LocalCluster", service: Key) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with a backend, and what to do: another name is meant, or no pod is ready."""
    view = cluster.operations
    if view.get("services", service.name, service.namespace) is not None:
        return reasons(view, cluster.problems(), service)
    nearest = names.nearest(service.name, [meta.name(each) for each in view.list("services", service.namespace)])
    return (), (f"did you mean service {nearest}?",) if nearest else ()


def _inside(cluster: "LocalCluster", parts: SplitResult) -> int:
    """Return the listener's port that a URL means: its own, or the one behind a door or a port that was moved up."""
    port = parts.port or _USUAL[parts.scheme]
    if any(
        each.get("port") == port for obj in cluster.operations.list(GATEWAYS) for each in meta.spec(obj)["listeners"]
    ):
        return port
    doors = {cluster.http_port: 80, cluster.https_port: 443}
    moved = port - cluster.low_port_offset
    return doors.get(port) or (moved if cluster.low_port_offset and 0 < moved < 1024 else port)


def _walk(cluster: "LocalCluster", parts: SplitResult, port: int) -> Walk:
    view = cluster.operations
    flavors = [flavor(name) for name in cluster.config.ingress.controllers]
    custom = {resource for each in flavors for resource in each.resources}
    resources = {*RESOURCES, *GATEWAY_RESOURCES, *custom}
    sources = Sources((resource, obj) for resource in resources for obj in view.list(resource))
    walks = (
        [explain(sources, flavors, parts, https_port=cluster.https_port, now=datetime.now(UTC))]
        if port in _USUAL.values()
        else []
    )
    gateways = sources.all(GATEWAYS).values()
    if gateways:
        from minikube_py.ingress.gateway.agent import CONTROLLERS
        from minikube_py.ingress.gateway.explain import explain as through_gateway

        outside = cluster.fabric.real_port(443)
        for gateway in gateways:
            class_ = sources.get(GATEWAY_CLASSES, Key("", meta.spec(gateway).get("gatewayClassName") or ""))
            if class_ is not None and meta.spec(class_).get("controllerName") in CONTROLLERS:
                walks.append(through_gateway(sources, gateway, parts, port, https_port=outside))
    if not walks:
        raise UnknownTarget(f"port {port}: ingress controllers listen on 80 and 443, and there is no Gateway")
    return farthest(walks)


def _controller(cluster: "LocalCluster", walk: Walk) -> str | None:
    """Return the address of a pod of the controller."""
    return next((str(meta.status(pod).get("podIP") or "") or None for pod in _pods(cluster, walk)), None)


def _pods(cluster: "LocalCluster", walk: Walk) -> Iterable[meta.Object]:
    wanted = dict(walk.pods)
    for pod in cluster.operations.list("pods", walk.service.namespace if walk.service else None):
        labels = meta.labels(pod)
        if wanted and all(labels.get(key) == value for key, value in wanted.items()) and not meta.terminating(pod):
            yield pod


def _nobody(cluster: "LocalCluster", walk: Walk) -> Hop | None:
    """Return what fails if no pod of the controller answers: nothing decides about the request."""
    if walk.service is None or answers(cluster.operations, walk.service):
        return None
    pods = [meta.name(pod) for pod in _pods(cluster, walk)]
    why = f"not ready: {', '.join(pods)}" if pods else "it has no pod"
    text = f"nobody answers at Service {walk.service}: the controller {walk.controller} doesn't run ({why})"
    return Hop(walk.steps[0].name, text, "FAILED")


def _start(cluster: "LocalCluster", walk: Walk) -> Iterable[str]:
    for each in cluster.operations.list("deployments.apps", walk.service.namespace if walk.service else None):
        selector = meta.spec(each).get("selector", {}).get("matchLabels")
        if meta.spec(each).get("replicas") == 0 and selector and selector.items() <= dict(walk.pods).items():
            yield f"kubectl scale -n {meta.namespace(each)} deployment/{meta.name(each)} --replicas=1"


def _address(cluster: "LocalCluster", service: Key) -> str | None:
    obj = cluster.operations.get("services", service.name, service.namespace)
    entries = (meta.status(obj).get("loadBalancer") or {}).get("ingress") if obj else None
    return next((str(each["ip"]) for each in entries or () if each.get("ip")), None)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


# The probe


async def _probe(cluster: "LocalCluster", walk: Walk, ip: str, port: int, parts: SplitResult) -> _Seen:
    """Make the request by the controller's own address, and look it up in the controller's log."""
    request_id = secrets.token_hex(16)
    fabric = cluster.fabric
    head = await asyncio.get_running_loop().create_task(
        _get(*fabric.real_address(ip, port), parts, request_id, grpc=_is_grpc(cluster, parts)),
        name=f"probe {parts.netloc}",
        context=fabric.context(),
    )
    if head is None:
        return _Seen(refused=True)
    match = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
    if match is None:
        return _Seen()
    because = re.search(rb"(?im)^x-ingress-reason: *([^\r\n]*)", head)
    reason = because[1].decode("utf-8", "replace") if because is not None else ""
    return _Seen(int(match[1]), reason, _endpoint(cluster, walk, request_id))


def _is_grpc(cluster: "LocalCluster", parts: SplitResult) -> bool:
    """Tell whether an Ingress of this host and path says that its backend speaks gRPC."""
    path = parts.path or "/"
    same = [each for each in routes(cluster.operations) if each.host in ("", parts.hostname)]
    fit = [each for each in same if path.startswith(each.called_path)]
    best = max(fit, key=lambda each: len(each.path), default=None)
    return best is not None and best.grpc


async def _get(ip: str, port: int, parts: SplitResult, request_id: str, *, grpc: bool) -> bytes | None:
    """Return the head of the answer; b"" for none, None if nobody listens.

    The rest is read, so that the controller can end its request.
    """
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False  # whose certificate it is, is the caller's to judge
        context.verify_mode = ssl.CERT_NONE
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    more = [f"{name}: {value}" for name, value in GRPC_HEADERS.items()] if grpc else ["Accept: */*"]
    method = "POST" if grpc else "GET"
    lines = (f"{method} {target} HTTP/1.1", f"Host: {host}", "User-Agent: mkpy-why", *more, "Connection: close")
    request = "".join(f"{line}\r\n" for line in (*lines, f"X-Request-ID: {request_id}")) + "\r\n"
    head = b""
    writer = None
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(
                ip, port, ssl=context, server_hostname=(parts.hostname or "") if context else None,
                local_addr=("127.0.0.1", 0),
            )  # fmt: skip
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(_PATIENCE):
            read = 0
            while read < _MOST and (data := await reader.read(65536)):
                read += len(data)
    except ConnectionRefusedError:
        return None
    except (OSError, EOFError, asyncio.LimitOverrunError):  # TimeoutError is an OSError
        pass
    finally:
        if writer is not None:
            writer.close()
    return head


def _endpoint(cluster: "LocalCluster", walk: Walk, request_id: str) -> str:
    """Return who answered, by the access log of the controller's pods."""
    for pod in _pods(cluster, walk):
        container = meta.spec(pod)["containers"][0]["name"]
        log = cluster.runtime.log(meta.namespace(pod), meta.name(pod), container, previous=False)
        for line in reversed([each.text for each in log.lines()][-100:]):
            if line.endswith(request_id):
                tried = re.findall(r"[^ ,]+:[0-9]+", line.rpartition("] ")[2])
                return tried[-1] if tried else ""
    return ""


def _told(seen: _Seen, foretold: str) -> str:
    if seen.refused:
        return "refused"
    if not seen.status:
        return f"no answer within {_PATIENCE:g} s"
    if seen.because:
        return f"{seen.status} by the controller itself" + ("" if seen.because in foretold else f": {seen.because}")
    return f"{seen.status}" + (f" from {seen.endpoint}" if seen.endpoint else "")


def _judged(walk: Walk, seen: _Seen, *, denied: bool) -> bool | None:
    if walk.status is None:
        return None
    if walk.status:
        return seen.status == walk.status
    if denied:  # some or all of the pods; a connection from before the policy lives on, and proxies keep them
        return True if len(walk.endpoints) == 1 and seen.because else None
    known = {str(each) for each in walk.endpoints}
    return bool(seen.status) and not seen.because and seen.endpoint in {*known, ""}
