"""Which rule answers a URL, by which backend and pod, or why none: the walk of a GET, in words. Pure.

It asks the same compiled rules as the proxy and runs the same filters, so that an answer of the controller's own
(a redirect, 401, 403) is foretold with its reason. Gateways have theirs in `gateway.explain`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import SplitResult

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.flavors import Flavor
from minikube_py.ingress.options import Answer, Subrequest
from minikube_py.ingress.router import (
    Endpoint,
    Location,
    Match,
    NoMatch,
    PathType,
    RoutingTable,
    Upstream,
    normalize_host,
)
from minikube_py.ingress.rules.backends import compile_table
from minikube_py.ingress.rules.classes import claim
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import INGRESS_CLASSES, INGRESSES, SECRETS, Sources
from minikube_py.ingress.tls.certificates import choose
from minikube_py.ingress.tls.faults import fault_of
from minikube_py.ingress.tls.sni import by_host

__all__ = ["Step", "Walk", "answered_here", "explain", "farthest", "nearest_hosts", "to_the_pods"]

_REMOTE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Step:
    """One decision on the way."""

    name: str
    """`class` or `gateway`, `tls`, `rule`, `filter`, `backend` or `pod`."""
    text: str
    ok: bool
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """The decisions in order; the last one fails, answers, or names the pods."""

    controller: str
    steps: tuple[Step, ...]
    endpoints: tuple[Endpoint, ...] = ()
    """Those that may answer, a canary's included."""
    status: int | None = 0
    """What the controller itself answers; 0: a pod answers; None: that can't be told (auth-url)."""
    fix: tuple[str, ...] = ()
    service: Key | None = None
    """By which the controller is reached."""
    pods: tuple[tuple[str, str], ...] = ()
    """Labels of its pods."""
    backend: Key | None = None
    """The Service that the rule names; None without a rule."""

    @property
    def served(self) -> bool:
        return bool(self.endpoints)

    @property
    def matched(self) -> bool:
        """Tell whether a rule takes the request."""
        return any(step.name == "rule" and step.ok for step in self.steps)


def farthest(walks: Iterable[Walk]) -> Walk:
    """Return the walk of the first who has a rule, else of the first who gets farthest."""
    return max(walks, key=lambda walk: (walk.matched, not walk.matched and sum(step.ok for step in walk.steps)))


def explain(
    sources: Sources,
    flavors: Sequence[Flavor],
    url: SplitResult,
    *,
    https_port: int = 443,
    now: datetime | None = None,
) -> Walk:
    """Walk with the first controller that has a rule; without one, with the first of them.

    `now` is what certificates are judged by; without it they aren't.
    """
    if not flavors:
        count = len(sources.all(INGRESSES))
        text = (
            f"no ingress controller runs: {count} Ingress objects do nothing (ingress.controllers in the cluster file)"
        )
        return Walk("", (Step("class", text, False),), status=None)
    return farthest(_walk(sources, each, url, https_port, now) for each in flavors)


def nearest_hosts(host: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the suggestion for a host that nobody knows."""
    near = names.nearest(host, known)
    return (f"did you mean http://{near}?",) if near and near != host else ()


def answered_here(location: Location, url: SplitResult, *, https_port: int, port: int = 0) -> Step | None:
    """Run a location's filters on a GET of the URL; return the step of the one that answers by itself."""
    path, secure = url.path or "/", url.scheme == "https"
    host = url.netloc.rpartition("@")[2]
    call = location.call(
        "GET", host, path, url.query, _REMOTE, {}, secure=secure, now=0.0, state={}, https_port=https_port, port=port
    )
    for each in location.options.secure_filters if secure else location.options.filters:
        outcome = each.request(call)
        if isinstance(outcome, Subrequest):
            return Step("filter", f"asks {outcome.url} first: its answer decides (auth-url)", True)
        if isinstance(outcome, Answer):
            to = next((f" to {value}" for name, value in outcome.headers if name == "Location"), "")
            return Step("filter", f"{outcome.status}{to}: {outcome.because}", outcome.status < 400)
    return None


def to_the_pods(
    found: Upstream, others: Sequence[tuple[str, Upstream]] = (), share: str = ""
) -> tuple[list[Step], tuple[Endpoint, ...]]:
    """Return the steps `backend` and `pod`; `others` may answer in place of `found`, with why (a canary, a share)."""
    key = found.key
    details = tuple(f"{how}: {_named(each)}" for how, each in others)
    endpoints = tuple(dict.fromkeys(each for one in (found, *(u for _, u in others)) for each in one.endpoints))
    if not found.endpoints and not endpoints:
        return [Step("backend", f"{found.status}: {found.reason}", False, details)], ()
    text = f"Service {key.namespace}/{key.service} port {key.port or '(its only one)'}"
    if share:
        text += f", {share}"
    if not found.endpoints:
        text += f" ({found.status}: {found.reason})"
    steps = [Step("backend", text, bool(found.endpoints), details)]
    pods = ", ".join(map(str, endpoints))
    return [*steps, Step("pod", f"one of {pods}" if len(endpoints) > 1 else pods, True)], endpoints


def _named(upstream: Upstream) -> str:
    why = "" if upstream.endpoints else f" ({upstream.status}: {upstream.reason})"
    return f"{upstream.key.namespace}/{upstream.key.service}:{upstream.key.port}{why}"


def _walk(sources: Sources, flavor: Flavor, url: SplitResult, https_port: int, now: datetime | None) -> Walk:
    rules = compile_rules(sources, controller=flavor.controller, defaults=flavor.options, flavor=flavor)
    table = compile_table(rules, sources)
    secure, host = url.scheme == "https", normalize_host(url.netloc.rpartition("@")[2])
    steps = [_class(sources, flavor, rules)]
    backend: Key | None = None
    passed = by_host(rules.passthrough, host) if secure else None
    if secure:
        own = Step("tls", "passed through, by the server name: the certificate is the pod's own", True)
        steps.append(own if passed is not None else _certificate(rules, host, sources, now))

    def ended(status: int | None, *more: Step, endpoints: tuple[Endpoint, ...] = (), fix: tuple[str, ...] = ()) -> Walk:
        service = Key(flavor.namespace, flavor.service)
        labels = tuple(flavor.labels.items())
        return Walk(flavor.name, (*steps, *more), endpoints, status, fix, service, labels, backend)

    if passed is not None:
        more, endpoints = to_the_pods(table.upstream(passed))
        return ended(None if endpoints else 503, *more, endpoints=endpoints)
    found = table.route(host, url.path or "/", method="GET", query=url.query, secure=secure)
    if isinstance(found, NoMatch):
        fix = () if table.paths(host) or _named_somewhere(sources, host) else nearest_hosts(host, table.hosts)
        return ended(404, Step("rule", f"404: {found.reason}", False), fix=fix)
    location = found.location
    backend = Key(found.upstream.key.namespace, found.upstream.key.service)
    steps.append(_rule(rules, location))
    answer = answered_here(location, url, https_port=https_port)
    if answer is not None:
        status = answer.text[:3]
        return ended(int(status) if status.isdigit() else None, answer)
    if location.backend is None:
        return ended(found.upstream.status, Step("backend", location.refused, False))
    more, endpoints = to_the_pods(found.upstream, _canaries(table, found))
    return ended(0 if endpoints else found.upstream.status, *more, endpoints=endpoints)


def _named_somewhere(sources: Sources, host: str) -> bool:
    """Tell whether some Ingress means this very host, served or not: then it isn't misspelt."""
    every = sources.all(INGRESSES).values()
    return any(rule.get("host") == host for each in every for rule in meta.spec(each).get("rules") or ())


def _rule(rules: Rules, location: Location) -> Step:
    problems = tuple(f"{each.reason}: {each.message}" for each in rules.problems.get(location.ingress, ()))
    if location.type is PathType.DEFAULT:
        text = f"no rule matches: the default backend of {location.kind} {location.ingress}"
    else:
        where = f"host {location.host or '*'} path {location.path} ({location.type.value})"
        text = f"{location.kind} {location.ingress}: {where}"
    return Step("rule", text, True, problems)


def _canaries(table: RoutingTable, found: Match) -> list[tuple[str, Upstream]]:
    others = []
    for each in found.location.canaries:
        how = [f"header {each.header}"] if each.header else []
        how += [f"cookie {each.cookie}"] if each.cookie else []
        how += [f"{each.weight} of {each.weight_total}"] if each.weight else []
        others.append((f"canary of {each.ingress} ({', '.join(how) or 'never'})", table.upstream(each.backend)))
    fallback = found.location.fallback
    if fallback is not None and found.upstream.key == fallback and found.location.backend is not None:
        others.append(("annotation default-backend stands in for", table.upstream(found.location.backend)))
    return others


def _certificate(rules: Rules, host: str, sources: Sources, now: datetime | None) -> Step:
    found = choose(rules.tls, host)
    if found is None or found.secret is None:
        return Step("tls", "certificate made by the cluster's CA (mkpy ca)", True)
    fault = fault_of(sources.get(SECRETS, found.secret), host, now) if now is not None else None
    if fault is None:
        return Step("tls", f"certificate of Secret {found.secret}", True)
    if fault.shown:
        return Step("tls", f"certificate of Secret {found.secret} all the same: {fault.text}", True)
    details = ("ingress-nginx shows its own fake certificate then",)
    text = f"certificate made by the cluster's CA (mkpy ca): Secret {found.secret}: {fault.text}"
    return Step("tls", text, True, details)


def _class(sources: Sources, flavor: Flavor, rules: Rules) -> Step:
    classes = list(sources.all(INGRESS_CLASSES).values())
    left = tuple(
        f"not served: Ingress {key}: {verdict.because}"
        for key, each in sources.all(INGRESSES).items()
        if not meta.terminating(each)
        and not (verdict := claim(each, classes, flavor.controller, (flavor.name,))).served
    )
    counts = {"ingresses": len(rules.served.intersection(sources.all(INGRESSES)))}
    counts |= {each.partition(".")[0]: len(sources.all(each)) for each in flavor.resources if sources.all(each)}
    text = ", ".join(f"{name}: {count}" for name, count in counts.items())
    return Step("class", f"controller {flavor.name} ({text})", bool(rules.served), left[:5])
