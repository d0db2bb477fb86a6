"""Trying what `wiring` plans, with real connections: every endpoint, every edge from its own pod, every Ingress row.

Who answered an Ingress row is read in the controller's access log, by the id that the request carries: a 404 of the
app and a 404 of the controller look alike from outside.
"""

import asyncio
import re
import secrets
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.cluster import wiring
from minikube_py.cluster.probing import Outcome, probe
from minikube_py.cluster.problems import problems
from minikube_py.cluster.wiring import GRPC_HEADERS, Edge, Route, Row, ServicePlan, Wiring
from minikube_py.cni.namespace import NetworkNamespace
from minikube_py.cni.resolvconf import pod_resolv_conf
from minikube_py.ingress.flavors import flavor

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster

__all__ = ["check"]

_AT_ONCE = 64
_PATIENCE = 5.0
"""Seconds that an Ingress row has to answer."""
_LOOKS = 100
"""How often the access log is read for a line, every 10 ms."""
_UPSTREAM = re.compile(r"\[(?P<backend>[^\]]*)\] \[[^\]]*\] (?P<address>\S+) [^\[\]]*$")
_REDIRECTS = (301, 302, 307, 308)


async def check(cluster: "LocalCluster") -> Wiring:
    """Return the table of the running cluster."""
    return await _Check(cluster).run()


class _Check:
    def __init__(self, cluster: "LocalCluster") -> None:
        self._cluster = cluster
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._problems: dict[str, list[str]] = {}
        for problem in problems(cluster.operations):
            self._problems.setdefault(problem.about, []).append(problem.text)

    async def run(self) -> Wiring:
        view = self._cluster.operations
        rows = [self._explained(row) for row in wiring.workloads(view)]
        for batch in (
            [self._service(plan) for plan in wiring.services(view)],
            [self._edge(edge) for edge in wiring.edges(view)],
            [self._route(route) for route in wiring.routes(view)],
        ):
            rows += await asyncio.gather(*batch)
        return Wiring(rows)

    def _explained(self, row: Row) -> Row:
        """Add why a workload's pods aren't ready."""
        if row.ok:
            return row
        kind, _, name = row.name.partition("/")
        why = self._why(row.namespace, kind.lower(), name) or next(
            (
                texts[0]
                for about, texts in self._problems.items()
                if about.startswith(f"{row.namespace}/pod/{name}-") or about == f"{row.namespace}/pod/{name}"
            ),
            "",
        )
        return Row(row.section, row.namespace, row.name, False, f"{row.text}: {why}" if why else row.text, row.facts)

    def _why(self, namespace: str, kind: str, name: str) -> str:
        return next(iter(self._problems.get(f"{namespace}/{kind}/{name}", ())), "")

    # Services

    async def _service(self, plan: ServicePlan) -> Row:
        service = plan.service
        namespace, name = meta.namespace(service), meta.name(service)
        wanted = max(plan.selected, 0)
        facts = {"endpoints": len(plan.endpoints), "pods": wanted, "addresses": sorted(plan.endpoints)}

        def row(ok: bool, text: str) -> Row:
            return Row("services", namespace, name, ok, text, facts)

        if plan.external_name:
            return row(True, f"is {plan.external_name}")
        faults = [*await self._dns(plan), *await self._refusals(plan)]
        count = f"{len(plan.endpoints)} endpoint{'' if len(plan.endpoints) == 1 else 's'}"
        if plan.selected < 0:
            return row(not faults, "; ".join((f"{count}, no selector", *faults)))
        if not plan.selected:
            return row(False, self._why(namespace, "service", name) or f"{count}: its selector finds no pod")
        if len(plan.endpoints) < wanted:
            faults.insert(0, self._why(namespace, "service", name) or f"{wanted} pods are selected")
        return row(not faults, "; ".join((count, *faults)))

    async def _dns(self, plan: ServicePlan) -> list[str]:
        """Ask the cluster's DNS for the Service's name; return what is wrong with the answer."""
        cluster, service = self._cluster, plan.service
        if not plan.endpoints and plan.headless:
            return []
        kubelet = next(iter(cluster.kubelets.values()))
        domain = cluster.config.dns.domain
        conf = pod_resolv_conf({}, "default", cluster_dns=cluster.addresses.dns_ip, cluster_domain=domain)
        name = f"{meta.name(service)}.{meta.namespace(service)}.svc.{domain}."
        try:
            answer = set(await kubelet.resolver(conf, {}, kubelet.ip).resolve(name))
        except OSError as error:
            return [f"{name} does not resolve: {error.strerror or error}"]
        if plan.headless:
            missing = set(plan.endpoints) - answer
            return [f"{name} lacks {', '.join(sorted(missing))}"] if missing else []
        cluster_ip = meta.spec(service).get("clusterIP")
        return [] if cluster_ip in answer else [f"{name} is {', '.join(answer)}, not {cluster_ip}"]

    async def _refusals(self, plan: ServicePlan) -> list[str]:
        """Connect to each port of each endpoint and of the ClusterIP; return who refused.

        No answer at all is a policy's doing and no fault of the wiring.
        """
        targets = [
            (address, port) for address, ports in plan.endpoints.items() for proto, port in ports if proto == "TCP"
        ]
        spec = meta.spec(plan.service)
        if plan.endpoints and not plan.headless:
            served = {p.get("protocol", "TCP") for p in spec.get("ports") or ()}
            if "TCP" in served:
                targets += [(spec["clusterIP"], p["port"]) for p in spec["ports"] if p.get("protocol", "TCP") == "TCP"]
        outcomes = await asyncio.gather(*(self._outside(address, port) for address, port in targets))
        return [
            f"{address}:{port} refuses: nothing listens there"
            for (address, port), outcome in zip(targets, outcomes, strict=True)
            if outcome is Outcome.REFUSED
        ]

    async def _outside(self, address: str, port: int) -> Outcome:
        async with self._limit:
            return (await probe(self._cluster.fabric, None, address, port)).outcome

    # Edges

    async def _edge(self, edge: Edge) -> Row:
        name = f"{edge.workload} {edge.container} {edge.via}"
        to = f"{edge.service.name}:{edge.port}" if edge.port else edge.service.name
        facts = {
            "from": edge.workload,
            "via": edge.via,
            "value": edge.value,
            "service": str(edge.service),
            "port": edge.port,
        }
        if not edge.port:
            return Row("edges", edge.namespace, name, False, f"-> {edge.value}: the Service has no such port", facts)
        namespace = self._namespace(edge)
        if namespace is None:
            return Row("edges", edge.namespace, name, False, f"-> {to}: its pod {edge.pod} doesn't run", facts)
        async with self._limit:
            result = await probe(self._cluster.fabric, namespace, edge.host, edge.port)
        ok = result.outcome is Outcome.CONNECTED
        text = f"-> {to}" if ok else f"-> {to}: {result.text}"
        return Row("edges", edge.namespace, name, ok, text, facts)

    def _namespace(self, edge: Edge) -> NetworkNamespace | None:
        for kubelet in self._cluster.kubelets.values():
            if (worker := kubelet.worker(edge.namespace, edge.pod)) is not None:
                namespace: NetworkNamespace | None = worker.namespace
                return namespace
        return None

    # Ingress

    async def _route(self, route: Route) -> Row:
        ingress = route.ingress
        namespace = meta.namespace(ingress)
        name = f"{route.host or '*'}{route.path}"
        facts = {"ingress": meta.name(ingress), "host": route.host, "path": route.path, "service": route.service}

        def row(ok: bool, text: str) -> Row:
            return Row("ingress", namespace, name, ok, f"-> {route.service}:{route.port}: {text}", facts)

        if unserved := self._why(namespace, "ingress", meta.name(ingress)):
            return row(False, unserved)
        if route.share:
            return row(*self._untried(route))
        if (doors := self._cluster.doors) is None:
            return row(False, "this cluster has no ingress controller (ingress.enabled: false)")
        door = doors.of(ingress)
        identity = secrets.token_hex(16)
        try:
            async with asyncio.timeout(_PATIENCE), self._limit:
                status, location = await self._request(route, identity, door.ip, door.http)
                if status in _REDIRECTS and location.startswith(f"https://{route.called_host}"):
                    identity = secrets.token_hex(16)
                    status, _ = await self._request(route, identity, door.ip, door.https, secure=True)
        except TimeoutError:
            return row(False, f"no answer in {_PATIENCE:g} s")
        except OSError as error:
            return row(False, str(error))
        backend, upstream = await self._logged(identity)
        if upstream:
            ours = backend.startswith(tuple(f"{namespace}-{name}-" for name in (route.service, *route.also)))
            return row(ours and status < 502, f"{status} from {upstream}" + ("" if ours else f" of {backend}"))
        return row(status < 400 or status == 401, f"{status} by the ingress controller itself")

    def _untried(self, route: Route) -> tuple[bool, str]:
        """Judge a canary that no request surely comes to by its endpoints."""
        view, namespace = self._cluster.operations, meta.namespace(route.ingress)
        if not any(
            (each.host, each.path) == (route.host, route.path) and not each.canary for each in wiring.routes(view)
        ):
            return False, "a canary of nothing: no other Ingress has this host and path"
        key = meta.Key(namespace, route.service)
        count = next((len(plan.endpoints) for plan in wiring.services(view) if meta.key(plan.service) == key), 0)
        return bool(count), f"canary by {route.share}, not tried; {count} endpoint{'s' * (count != 1)}"

    async def _request(
        self, route: Route, identity: str, ip: str, port: int, *, secure: bool = False
    ) -> tuple[int, str]:
        """Return status and Location."""
        options: dict[str, Any] = {}
        if secure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the cluster's own authority signed it; only the wiring is judged
            options = {"ssl": context, "server_hostname": route.called_host}
        reader, writer = await asyncio.open_connection(ip, port, **options)
        try:
            headers = {
                "Host": route.called_host,
                "User-Agent": "mkpy-wiring",
                "X-Request-ID": identity,
                "Connection": "close",
                **(GRPC_HEADERS if route.grpc else {}),
                **route.headers,
            }
            method = "POST" if route.grpc else "GET"
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"{method} {route.called_path} HTTP/1.1\r\n{head}\r\n".encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            location = re.search(r"(?im)^location: *(\S+)", answer)
            return int(answer.split()[1]), location[1] if location else ""
        except (EOFError, IndexError, ValueError):
            raise ConnectionResetError("the connection ended without an answer") from None
        finally:
            writer.close()

    async def _logged(self, identity: str) -> tuple[str, str]:
        """Return backend and endpoint of a request, as the ingress controller logged them; "" for none."""
        for _ in range(_LOOKS):
            for line in self._log_lines():
                if line.endswith(identity) and (found := _UPSTREAM.search(line)):
                    return found["backend"], found["address"].rstrip(",").removeprefix("-")
            await asyncio.sleep(0.01)  # a line is written when the answer is complete
        return "", ""

    def _log_lines(self) -> Iterable[str]:
        cluster = self._cluster
        for controller in map(flavor, cluster.config.ingress.controllers):
            for pod in cluster.operations.list("pods", controller.namespace, Selector.from_map(controller.labels)):
                try:
                    log = cluster.runtime.log(controller.namespace, meta.name(pod), controller.container)
                except StatusError:
                    continue
                yield from (line.text for line in log.lines()[-200:][::-1])
