"""Which rule answers a URL, by which backend and pod, or why none: the walk, in words. Pure.

It asks the same compiled rules as the proxy; filters (annotations) are named, not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.apimachinery import meta
from minikube_py.ingress.classes import claim
from minikube_py.ingress.compile import Rules, compile_rules, compile_table
from minikube_py.ingress.flavors import Flavor
from minikube_py.ingress.router import Endpoint, NoMatch
from minikube_py.ingress.sources import INGRESS_CLASSES, INGRESSES, Sources

__all__ = ["Step", "Walk", "explain"]


@dataclass(frozen=True, slots=True)
class Step:
    """One decision on the way."""

    name: str
    """`class`, `rule`, `backend` or `pod`."""
    text: str
    ok: bool
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """The decisions in order; the last one fails, or names the pods."""

    controller: str
    steps: tuple[Step, ...]
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def served(self) -> bool:
        return bool(self.endpoints)


def explain(sources: Sources, flavors: Sequence[Flavor], host: str, path: str, *, secure: bool = False) -> Walk:
    """Walk with the first controller that has a rule; without one, with the first of them."""
    if not flavors:
        count = len(sources.all(INGRESSES))
        text = (
            f"no ingress controller runs: {count} Ingress objects do nothing (ingress.controllers in the cluster file)"
        )
        return Walk("", (Step("class", text, False),))
    walks = [_walk(sources, flavor, host, path, secure) for flavor in flavors]
    return next((each for each in walks if len(each.steps) > 2), walks[0])


def _walk(sources: Sources, flavor: Flavor, host: str, path: str, secure: bool) -> Walk:
    rules = compile_rules(sources, controller=flavor.controller, defaults=flavor.options, flavor=flavor)
    table = compile_table(rules, sources)
    steps = [_class(sources, flavor, rules)]
    found = table.route(host, path, method="GET", secure=secure)
    if isinstance(found, NoMatch):
        return Walk(flavor.name, (*steps, Step("rule", f"404: {found.reason}", False)))
    location, upstream = found.location, found.upstream
    problems = tuple(f"{each.reason}: {each.message}" for each in rules.problems.get(location.ingress, ()))
    text = (
        f"{location.kind} {location.ingress}: host {location.host or '*'} path {location.path} ({location.type.value})"
    )
    filters = location.options.secure_filters if secure else location.options.filters
    if names := sorted({type(each).__name__ for each in filters}):
        problems += (f"filters before the backend: {', '.join(names)}",)
    problems += tuple(f"canary of Ingress {each.ingress}: {each.backend}" for each in location.canaries)
    steps.append(Step("rule", text, True, problems))
    if location.backend is None:
        return Walk(flavor.name, (*steps, Step("backend", location.refused, False)))
    backend = f"Service {upstream.key.namespace}/{upstream.key.service} port {upstream.key.port or '(its only one)'}"
    if not upstream.endpoints:
        return Walk(flavor.name, (*steps, Step("backend", f"503: {upstream.reason}", False)))
    steps.append(Step("backend", backend, True))
    pods = ", ".join(map(str, upstream.endpoints))
    steps.append(Step("pod", f"one of {pods}" if len(upstream.endpoints) > 1 else pods, True))
    return Walk(flavor.name, tuple(steps), upstream.endpoints)


def _class(sources: Sources, flavor: Flavor, rules: Rules) -> Step:
    classes = list(sources.all(INGRESS_CLASSES).values())
    left = tuple(
        f"not served: Ingress {key}: {verdict.because}"
        for key, each in sources.all(INGRESSES).items()
        if not meta.terminating(each)
        and not (verdict := claim(each, classes, flavor.controller, (flavor.name,))).served
    )
    return Step("class", f"controller {flavor.name} serves {len(rules.served)} Ingresses", bool(rules.served), left[:5])
