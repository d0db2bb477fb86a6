"""What people ask of a running cluster: apply, wait, scale, kill, look. For code on the cluster's own loop."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError, not_found
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.client.runtime import Streams
from minikube_py.cluster import apply as applying
from minikube_py.cluster.composition import StartError
from minikube_py.cluster.ingress import addresses
from minikube_py.cluster.nodes import NodeVerbs
from minikube_py.cluster.problems import Problem, problems
from minikube_py.cluster.targets import Target, UnknownTarget, is_ready, kind_named, parse, pod_of, pods_of
from minikube_py.cluster.urls import SYSTEM_NAMESPACES, Door, Doors, scheme, urls
from minikube_py.cluster.waiting import WORKLOADS, hopeless, not_ready, unready_workloads, until
from minikube_py.cni.sockdiag import Listening
from minikube_py.ingress.flavors import flavor
from minikube_py.networkpolicy.profiles import PROFILES

if TYPE_CHECKING:
    from minikube_py.cluster.reachability import Reachability
    from minikube_py.cluster.why_answer import Why
    from minikube_py.cluster.wiring import Wiring

__all__ = ["LocalCluster", "StartError"]

_ACUTE = ("MK202",)
"""Of the advice on policies, what breaks a pod altogether."""


class LocalCluster(NodeVerbs):
    """A running cluster with the verbs that `testing.Cluster` and `mkpy up` offer."""

    _tried: Sequence[tuple[float, float]] = ()
    """When `wiring` was at work: its own requests are denied, too. Seconds since the epoch."""

    # Facts

    @property
    def node_count(self) -> int:
        return self.config.nodes

    @property
    def api_url(self) -> str:
        return self._api.url if self._api else ""

    @property
    def dns_address(self) -> tuple[str, int]:
        """Where `dig` reaches the cluster's DNS."""
        return self.addresses.dns_ip, self.fabric.real_port(53)

    @property
    def low_port_offset(self) -> int:
        """What is added to ports below 1024; 0 where they can be bound."""
        return self.fabric.real_port(80) - 80

    def is_service_address(self, address: str) -> bool:
        """Tell whether an address is a Service's, a balancer's or a node's: judged behind it, not at it."""
        return self.addresses.contains(address) and not self.addresses.is_pod(address)

    @property
    def doors(self) -> Doors | None:
        """Where Ingresses are reached from this machine; None without an ingress controller."""
        if not self.config.ingress.enabled:
            return None
        own = addresses(self.operations, flavor(self.config.ingress.controllers[0]))
        return Doors(Door("127.0.0.1", self.http_port, self.https_port), next(iter(own), ""), self.low_port_offset)

    def facts(self) -> dict[str, Any]:
        """Return what other commands need to know: the content of cluster.json."""
        doors = self.doors
        return {
            "name": self.name,
            "nodes_count": self.node_count,
            "api": self.api_url,
            "token": self.credentials.token if self._api else "",
            "ca": self.ca() if self._api else "",
            "kubeconfig": str(self.state_dir / "kubeconfig") if self._api else "",
            "ranges": {
                "nodes": str(self.addresses.nodes),
                "pods": str(self.addresses.pods),
                "services": str(self.addresses.services),
                "load_balancers": str(self.addresses.load_balancers),
            },
            "dns": {"address": self.dns_address[0], "port": self.dns_address[1], "domain": self.config.dns.domain},
            "ingress": {
                "http": doors.first.url("http") if doors else None,
                "https": doors.first.url("https") if doors else None,
                "address": doors.address if doors else None,
            },
            "low_port_offset": self.low_port_offset,
            "urls": urls(self.operations, doors, real_port_offset=self.low_port_offset),
        }

    def problems(self) -> list[Problem]:
        """Return what is wrong, by object."""
        found = problems(self.operations, Listening(self.low_port_offset).ports, now=datetime.now(UTC))
        if warning := PROFILES[self.config.networking.cni].warning(self.gate.unenforced()):
            found.append(Problem("MK309", f"cni/{self.config.networking.cni}", warning))
        if self.gate.enforce and self.gate.policy_set.policies:
            found += (
                Problem(each.code, "/netpol/".join(each.policy.split("/")), f"{each.message}. Fix: {each.fix}")
                for each in self.gate.lint()
                if each.code in _ACUTE
            )
        for (ip, port), (service, why) in self.proxy.problems.items():
            found.append(Problem("MK113", f"{service.namespace}/service/{service.name}", f"{ip}:{port}: {why}"))
        return sorted(found, key=lambda problem: (problem.code, problem.about))

    def port_notice(self) -> str | None:
        """Return the one line about moved ports, or None where ports are exact."""
        if not self.low_port_offset:
            return None
        return (
            "this machine forbids ports below 1024 to ordinary users: from outside, port 80 is "
            f"{80 + self.low_port_offset} (pods still dial 80). The cure: "
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=53"
        )

    def failure_report(self) -> list[tuple[str, str]]:
        """Return (title, text) sections for the report of a failed test."""
        found = [str(problem) for problem in self.problems()]
        pods = sorted(self.operations.list("pods"), key=lambda pod: meta.namespace(pod) in SYSTEM_NAMESPACES)
        states = [
            f"{meta.namespace(pod)}/{meta.name(pod)}  {'Ready' if is_ready(pod) else meta.status(pod).get('phase')}  "
            f"{meta.status(pod).get('podIP', '-')}"
            for pod in pods
            if meta.namespace(pod) not in SYSTEM_NAMESPACES or not is_ready(pod)
        ]
        who = {ip: f"{endpoint} ({ip})" for ip, endpoint in self.gate.policy_set.pods.items()}
        denied = []
        for each in list(self.fabric.denials)[-20:]:
            source, destination = (who.get(ip, ip) for ip in (each.flow.source, each.flow.destination))
            tried = any(begun <= each.at <= ended for begun, ended in self._tried)
            note = "  (while `wiring` tried everything)" if tried else ""
            denied.append(f"{source} -> {destination}:{each.flow.port}  {each.verdict.because}{note}")
        sections = [("problems", found), ("pods", states), ("denied by policy", denied)]
        return [(title, "\n".join(lines)) for title, lines in sections if lines]

    def ca(self) -> str:
        """Write the certificate of the cluster's authority; return its path."""
        from minikube_py.apiserver.credentials import write_private

        path = self.state_dir / "ca.crt"
        if not path.exists():
            write_private(path, self.credentials.authority.cert_pem)
        return str(path)

    async def kubeconfig(self) -> str:
        """Write the kubeconfig (0600), starting the API server if need be; return its path."""
        await self.serve_api()
        path = self.state_dir / "kubeconfig"
        if not path.exists():
            self.ca()
            self.write_kubeconfig(path)
        return str(path)

    def write_kubeconfig(self, path: str | Path) -> None:
        """Write the kubeconfig, mode 0600."""
        from minikube_py.apiserver.kubeconfig import write

        write(Path(path), self.name, self.api_url, self.credentials)

    # Verbs

    def create_missing_namespaces(self, objects: Sequence[Object], *, strict: bool) -> list[str]:
        """Create the namespaces that manifests are in but nobody makes; return their names.

        Error handling: StartError naming them when `strict`.
        """
        missing = applying.missing_namespaces(objects, self.operations)
        if missing and strict:
            raise StartError(f"namespaces {', '.join(missing)} not found: no manifest makes them (--strict)")
        for name in missing:
            self.operations.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return missing

    def apply(self, objects: Sequence[Object], *, namespace: str = "default") -> list[applying.Applied]:
        """Apply manifests as `kubectl apply` does."""
        return list(applying.apply(self.operations, objects, namespace=namespace))

    def delete_objects(self, objects: Sequence[Object], *, namespace: str = "default") -> list[applying.Applied]:
        """Delete what manifests name."""
        return list(applying.delete(self.operations, objects, namespace=namespace))

    def target(self, text: str, namespace: str = "default") -> Target:
        """Read `deployment/api`, `svc/api`, `pod/x`."""
        return parse(text, self.operations.registry, namespace)

    def delete(self, target: str, *, namespace: str = "default", grace_period: int | None = None) -> None:
        """Delete one object; it returns once it is marked for deletion."""
        found = self.target(target, namespace)
        self.operations.delete(found.resource, found.name, found.namespace, grace_period=grace_period)

    def scale(self, target: str, replicas: int, *, namespace: str = "default") -> None:
        """Set the replicas of a workload."""
        found = self.target(target, namespace)

        def change(obj: Object) -> None:
            if "replicas" not in obj.get("spec", {}):
                raise UnknownTarget(f"{found} can't be scaled: it has no spec.replicas")
            obj["spec"]["replicas"] = replicas

        if self.operations.modify(found.resource, found.name, found.namespace, change) is None:
            raise self._missing(found)

    def kill(self, target: str, *, n: int = 1, namespace: str = "default") -> list[str]:
        """Kill `n` pods of a target without grace; return their names."""
        if "/" in target:
            found = self.target(target, namespace)
            pods = pods_of(self.operations, found)
            if not pods:
                raise self._missing(found)
        else:
            pods = [pod_of(self.operations, target, namespace)]
        victims = [pod for pod in pods if not meta.terminating(pod)][:n]
        for pod in victims:
            self.operations.delete("pods", meta.name(pod), meta.namespace(pod), grace_period=0)
        return [meta.name(pod) for pod in victims]

    def get(self, target: str, *, selector: str | None = None, namespace: str | None = None) -> Any:
        """Return one object (None if absent) or the list of a kind."""
        if "/" in target:
            found = self.target(target, namespace or "default")
            return meta.copy(self.operations.get(found.resource, found.name, found.namespace))
        kind = kind_named(target, self.operations.registry)
        where = None if namespace == "*" or not kind.namespaced else namespace or "default"
        matching = Selector.parse(selector) if selector else None
        return [meta.copy(obj) for obj in self.operations.list(kind.resource, where, matching)]

    def logs(
        self,
        target: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        namespace: str = "default",
    ) -> str:
        """Return what a container wrote."""
        pod = pod_of(self.operations, target, namespace)
        log = self.runtime.log(
            meta.namespace(pod), meta.name(pod), container or self._first_container(pod), previous=previous
        )
        lines = [line.text for line in log.lines()]
        return "".join(f"{line}\n" for line in (lines[-tail:] if tail is not None else lines))

    async def execute(
        self,
        target: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        stdin: bytes = b"",
        namespace: str = "default",
    ) -> tuple[int, bytes, bytes]:
        """Run a command in a container; return exit code, stdout and stderr."""
        pod = pod_of(self.operations, target, namespace)
        out, err = bytearray(), bytearray()

        async def to_out(data: bytes) -> None:
            out.extend(data)

        async def to_err(data: bytes) -> None:
            err.extend(data)

        reader = asyncio.StreamReader()
        reader.feed_data(stdin)
        reader.feed_eof()
        streams = Streams(stdin=reader, stdout=to_out, stderr=to_err)
        code = await self.runtime.execute(
            meta.namespace(pod), meta.name(pod), container or self._first_container(pod), list(command), streams
        )
        return code, bytes(out), bytes(err)

    @staticmethod
    def _first_container(pod: Object) -> str:
        return str(meta.spec(pod)["containers"][0]["name"])

    async def wait(
        self,
        target: str,
        *,
        ready: int | None = None,
        condition: str | None = None,
        timeout: float = 30.0,
        namespace: str = "default",
    ) -> None:
        """Wait until a target is ready; see `testing.Cluster.wait`.

        First the controllers look at all that happened, so that a status from before a kill doesn't count.
        """
        found = self.target(target, namespace)
        await self.settle(timeout)
        await until(
            self.operations, {found.resource, "pods"}, lambda view: not_ready(view, found, ready, condition), timeout
        )

    async def wait_gone(self, target: str, *, timeout: float = 30.0, namespace: str = "default") -> None:
        """Wait until a target doesn't exist, nor an endpoint of it."""
        found = self.target(target, namespace)
        await until(
            self.operations,
            {found.resource},
            lambda view: f"{found} still exists" if view.get(found.resource, found.name, found.namespace) else None,
            timeout,
        )
        await self.settle(timeout)

    async def wait_ready(self, timeout: float) -> None:
        """Wait until every workload and pod is ready, and their endpoints are published.

        Error handling: WaitTimeout; WaitHopeless at once when a program of `images:` can't be imported.
        """
        await until(self.operations, (*WORKLOADS, "pods"), unready_workloads, timeout, hopeless)
        await self._settled(timeout, "endpoint-slice-controller")  # what proxy and DNS go by

    # Questions

    async def why(self, source: str, destination: str, *, namespace: str = "default", measured: bool = True) -> "Why":
        """Return whether and why `source` reaches `destination`; see `cluster.why`."""
        if "://" in destination:
            from minikube_py.cluster.why_url import why_url

            return await why_url(self, destination, measured=measured)
        from minikube_py.cluster.why import why

        return await why(self, source, destination, namespace=namespace, measured=measured)

    async def matrix(self, *, namespace: str | None = None, measured: bool = False) -> "Reachability":
        """Return who reaches whom, in one namespace or in all but the system's; see `cluster.reachability`."""
        from minikube_py.cluster.reachability import reachability

        return await reachability(self, namespace=namespace, measured=measured)

    async def wiring(self) -> "Wiring":
        """Return the table of workloads, Services, edges and Ingress rows, each tried; see `cluster.wirecheck`."""
        from minikube_py.cluster.wirecheck import check

        begun = time.time()
        try:
            return await check(self)
        finally:
            self.fabric.filters.look()
            self._tried = (*self._tried[-99:], (begun, time.time()))

    def denials(self, *, source: str | None = None, since: float = 0.0) -> list[dict[str, Any]]:
        """Return the denials that are still remembered, oldest first; `since` is in seconds since the epoch."""
        self.fabric.filters.look()
        return [
            {
                "time": denial.at,
                "source": denial.flow.source,
                "destination": denial.flow.destination,
                "port": denial.flow.port,
                "protocol": denial.flow.protocol,
                "because": denial.verdict.because,
                "policies": list(denial.verdict.policies),
            }
            for denial in self.fabric.denials
            if denial.at >= since and source in (None, denial.flow.source)
        ]

    def questions(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        async def why(query: Mapping[str, str]) -> Any:
            try:
                answer = await self.why(
                    query.get("from", ""),
                    query.get("to", ""),
                    namespace=query.get("namespace") or "default",
                    measured=query.get("probe") != "0",
                )
            except UnknownTarget as error:
                raise StatusError(404, "NotFound", str(error)) from None
            return answer.as_json()

        async def matrix(query: Mapping[str, str]) -> Any:
            found = await self.matrix(namespace=query.get("namespace") or None, measured=query.get("probe") == "1")
            return found.as_json()

        async def wiring(query: Mapping[str, str]) -> Any:
            ready = True
            if patience := float(query.get("wait") or 0):
                try:
                    await self.wait_ready(patience)
                except TimeoutError:
                    ready = False  # the table says what is missing
            return {"ready": ready, **(await self.wiring()).as_json()}

        def problems_(query: Mapping[str, str]) -> Any:
            return [{"code": each.code, "about": each.about, "text": each.text} for each in self.problems()]

        def denials(query: Mapping[str, str]) -> Any:
            return self.denials(source=query.get("source"), since=float(query.get("since") or 0))

        return {
            "minikube-py/v1/why": why,
            "minikube-py/v1/matrix": matrix,
            "minikube-py/v1/denials": denials,
            "minikube-py/v1/wiring": wiring,
            "minikube-py/v1/problems": problems_,
        }

    async def settle(self, timeout: float = 10.0) -> None:
        """Wait until no controller has anything to do now, nor in a moment: endpoints of new pods are written
        together.
        """
        async with asyncio.timeout(timeout):
            await self.machines.settle()
        await self._settled(timeout)

    async def _settled(self, timeout: float, *controllers: str) -> None:
        """Wait until these controllers (none named: all) have nothing to do, nor in a moment."""
        async with asyncio.timeout(timeout):
            while not all(agent.settled for agent in self._agents if not controllers or agent.name in controllers):
                await asyncio.sleep(0.001)

    def address(self, target: str, *, port: int | str | None = None, namespace: str = "default") -> tuple[str, int]:
        """Return (IP, port) at which a Service, pod, Ingress or Gateway is reached from this process."""
        found = self.target(target, namespace)
        obj = self.operations.get(found.resource, found.name, found.namespace)
        if obj is None:
            raise self._missing(found)
        if found.resource == "ingresses.networking.k8s.io":
            if (doors := self.doors) is None:
                raise UnknownTarget("this cluster has no ingress controller (ingress.enabled: false)")
            door = doors.of(obj)
            return door.ip, door.https if port in (443, "https") else door.http
        if found.resource == "gateways.gateway.networking.k8s.io":
            listeners = meta.spec(obj)["listeners"]
            if not (addresses := meta.status(obj).get("addresses")):
                raise UnknownTarget(f"{found} has no address: is it Programmed? (mkpy describe {found})")
            return addresses[0]["value"], self.fabric.real_port(_chosen(found, listeners, port, "port"))
        if found.resource == "services":
            spec = meta.spec(obj)
            if spec.get("clusterIP") in (None, "", "None"):
                raise UnknownTarget(
                    f"{found} is headless or an ExternalName: it has no address of its own; use its pods"
                )
            return spec["clusterIP"], self.fabric.real_port(_chosen(found, spec.get("ports") or (), port, "port"))
        pods = pods_of(self.operations, found)
        ready = [pod for pod in pods if is_ready(pod)]
        if not ready:
            raise UnknownTarget(f"{found} has no ready pod")
        ip = meta.status(ready[0])["podIP"]
        ports = [p for c in meta.spec(ready[0])["containers"] for p in c.get("ports") or ()]
        if not ports and (namespace_ := self.fabric.find(ip)) is not None:  # none declared: whatever it listens on
            ports = [{"containerPort": number} for how, number in namespace_.listeners() if how == "TCP"]
        chosen = port if isinstance(port, int) else _chosen(found, ports, port, "containerPort")
        return ip, self.fabric.real_port(chosen)

    def url(self, target: str, *, port: int | str | None = None, namespace: str = "default") -> str:
        """Return a URL that works from this process."""
        address, real_port = self.address(target, port=port, namespace=namespace)
        plain = real_port - self.low_port_offset if real_port - self.low_port_offset in (80, 443) else real_port
        how = scheme({"port": plain, "name": port if isinstance(port, str) else ""})
        usual = {"http": 80, "https": 443}.get(how)
        return f"{how}://{address}" if real_port == usual else f"{how}://{address}:{real_port}"

    def _missing(self, target: Target) -> StatusError:
        kind = self.operations.registry.by_resource(target.resource)
        return not_found(kind.plural, target.name, kind.group)


def _chosen(target: Target, ports: Sequence[Mapping[str, Any]], wanted: int | str | None, key: str) -> int:
    """Return the number of the port that is meant: by number, by name, or the only (else the first) one."""
    for entry in ports:
        if wanted in (None, entry[key], entry.get("name")):
            return int(entry[key])
    if not ports:
        raise UnknownTarget(f"{target} has no port: it declares none and listens on none")
    known = ", ".join(f"{p[key]}" + (f" ({p['name']})" if p.get("name") else "") for p in ports)
    raise UnknownTarget(f"{target} has no port {wanted}; it has: {known}")
