"""AWS Load Balancer Controller: an Application Load Balancer for Ingresses.

It differs: ImplementationSpecific has wildcards (`/img/*`; without one it is exact), redirects, fixed answers and
weighted Services are actions, X-Forwarded-For is appended to, Host is the only header that says which host. One load
balancer serves all Ingresses here (as with one group.name); security groups answer 403 instead of dropping.
Source: https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/
"""

import json
import re
from typing import Any, ClassVar

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations.affinity import Stick, stick
from minikube_py.ingress.annotations.whitelist_source_range import AllowSources
from minikube_py.ingress.flavors.flavor import Flavor, HTTPSRedirect, OnlyScheme, ignore
from minikube_py.ingress.options import Answer, Call, Options, Phase
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources

_KNOWN = (
    "scheme", "target-type", "listen-ports", "ssl-redirect", "certificate-arn", "inbound-cidrs", "backend-protocol",
    "load-balancer-attributes", "target-group-attributes", "load-balancer-name", "group.name", "group.order", "tags",
    "ip-address-type", "subnets", "security-groups", "ssl-policy", "healthcheck-*", "healthy-*", "unhealthy-*",
    "success-codes", "actions.*", "backend-protocol-version",
)  # fmt: skip


class Action:
    """A rule's own answer: redirect or fixed-response."""

    phase: ClassVar[Phase] = Phase.REDIRECT

    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self._name = name
        self._redirect = spec.get("redirectConfig") or spec.get("RedirectConfig")
        self._fixed = spec.get("fixedResponseConfig") or {}

    def request(self, call: Call) -> Answer | None:
        if self._redirect is None:
            body, kind = self._fixed.get("messageBody", ""), self._fixed.get("contentType", "text/plain")
            return Answer(int(self._fixed.get("statusCode", 200)), f"action {self._name}", content=(kind, body))
        given = {key.lower(): str(value) for key, value in self._redirect.items()}
        name, _, port = call.host.partition(":")
        values = {
            "protocol": call.scheme.upper(),
            "host": name,
            "port": port or ("443" if call.scheme == "https" else "80"),
            "path": call.path.lstrip("/"),
            "query": call.query,
        }

        def filled(key: str, otherwise: str) -> str:
            return re.sub(r"#\{(\w+)\}", lambda m: values.get(m[1], ""), given.get(key, otherwise))

        scheme, number = filled("protocol", "#{protocol}").lower(), filled("port", "#{port}")
        if scheme == "https" and number == "443" and port:
            number = str(call.https_port)  # the caller came by a door of this machine: HTTPS has its own there
        at = "" if number == {"http": "80", "https": "443"}.get(scheme) else f":{number}"
        query = filled("query", "#{query}")
        url = f"{scheme}://{filled('host', '#{host}')}{at}/{filled('path', '/#{path}').lstrip('/')}"
        status = 302 if "302" in given.get("statuscode", "") else 301
        return Answer(status, f"action {self._name}", (("Location", url + (f"?{query}" if query else "")),))


def _forward(spec: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return the Services of a forward action; none if a target group is named in another way."""
    groups = (spec.get("forwardConfig") or spec.get("ForwardConfig") or {}).get("targetGroups") or ()
    found = []
    for each in groups:
        given = {key.lower(): value for key, value in each.items()}
        if not given.get("servicename"):
            return []
        weight = 1 if given.get("weight") is None else int(given["weight"])
        found.append((str(given["servicename"]), str(given.get("serviceport") or ""), weight))
    return found


def _attributes(draft: Draft, name: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in draft.words(name))


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="alb.ingress.kubernetes.io/")
    draft.ssl_redirect = False
    schemes = {"HTTP", "HTTPS"} if draft.has_tls or draft.text("certificate-arn") else {"HTTP"}
    if (ports := draft.text("listen-ports")) is not None:
        try:
            schemes = {str(scheme) for each in json.loads(ports) for scheme in each}
        except (ValueError, TypeError):
            draft.problem("listen-ports", 'must be JSON such as [{"HTTP": 80}, {"HTTPS": 443}]')
    if draft.text("ssl-redirect"):
        draft.filters.append(HTTPSRedirect(301, "annotation ssl-redirect"))
    elif len(schemes) == 1:
        only = schemes.pop().lower()
        draft.filters.append(OnlyScheme(only, f"the load balancer listens for {only.upper()} only"))
    if networks := draft.networks("inbound-cidrs"):
        draft.filters.append(AllowSources("inbound-cidrs", networks))
    protocol = (draft.text("backend-protocol") or "HTTP").upper()
    if (draft.text("backend-protocol-version") or "HTTP1").upper() in ("GRPC", "HTTP2"):
        protocol = "GRPCS" if protocol == "HTTPS" else "GRPC"
    draft.set(protocol=protocol)
    idle = _attributes(draft, "load-balancer-attributes").get("idle_timeout.timeout_seconds", "")
    if idle.isdigit():
        draft.set(read_timeout=float(idle))
    if _attributes(draft, "target-group-attributes").get("stickiness.enabled") == "true":
        stick(draft, Stick(name="AWSALB", path="/", secure=False, http_only=False))
    for name in draft.values:
        if name.startswith("actions."):
            try:
                spec = json.loads(draft.values[name])
            except ValueError:
                draft.problem(name, "must be JSON")
                continue
            kind = str(spec.get("type") or spec.get("Type")).lower() if isinstance(spec, dict) else ""
            if kind in ("redirect", "fixed-response"):
                draft.actions[name[8:]] = Action(name[8:], spec)
            elif kind == "forward" and (shares := _forward(spec)):
                draft.forwards[name[8:]] = shares
            else:
                draft.problem(name, "is not emulated (redirect, fixed-response and forward to Services are)")
    ignore(draft, _KNOWN)
    return draft


def paths(path: str, draft: Draft) -> tuple[PathType, str] | re.Pattern[str]:
    """`*` is any text, `?` any character (also `/`); without them the path is exact."""
    if not re.search(r"[*?]", path):
        return PathType.EXACT, path
    if path.endswith("*") and not re.search(r"[*?]", path[:-1]):
        return PathType.IMPLEMENTATION_SPECIFIC, path[:-1]
    return re.compile(re.escape(path).replace(r"\*", ".*").replace(r"\?", ".") + r"\Z")


def _body(status: int, because: str) -> tuple[str, str]:
    if status == 404:
        return "text/plain; charset=utf-8", ""
    title = f"<head><title>{status}</title></head>"
    return "text/html", f"<html>{title}<body><center><h1>{status}</h1></center></body></html>"


FLAVOR = Flavor(
    name="alb",
    controller="ingress.k8s.aws/alb",
    namespace="kube-system",
    workload="aws-load-balancer-controller",
    service="aws-load-balancer-controller",
    image="public.ecr.aws/eks/aws-load-balancer-controller:v2.12.0",
    args=("--ingress-class=alb",),
    labels={"app.kubernetes.io/name": "aws-load-balancer-controller"},
    style=Style(
        server="awselb/2.0",
        hsts=False,
        appends=True,
        forwarded=("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"),
        trace="X-Amzn-Trace-Id",
        body=_body,
    ),
    read=read,
    paths=paths,
)
