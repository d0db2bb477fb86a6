"""Kong Ingress Controller and its gateway.

It differs: JSON pages, `/~` paths are regular expressions, HTTPS is asked for with 426 by default, Via and
X-Kong-* in answers, strip-path. Plugins are in `ingress.resources.kongplugin`. Left out: KongIngress,
KongUpstreamPolicy.
Source: https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/
"""

import json
import re
from typing import ClassVar

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import Flavor, HTTPSRedirect, Latency, SetHeaders, ignore, literal
from minikube_py.ingress.options import Answer, Call, Options, Phase
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.resources import kongplugin
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.controllerkinds import definitions

_PAGES = {
    404: "no Route matched with those values",
    503: "failure to get a peer from the ring-balancer",
    502: "An invalid response was received from the upstream server",
    504: "The upstream server is timing out",
    426: "Please use HTTPS protocol",
}
_KNOWN = (
    "plugins",
    "strip-path", "protocols", "https-redirect-status-code", "methods", "host-aliases", "rewrite", "preserve-host",
    "path-handling", "regex-priority", "regex-prefix", "tags", "headers.*",
)  # fmt: skip


class StripPath:
    """Takes the rule's path off the request's."""

    phase: ClassVar[Phase] = Phase.REWRITE

    def request(self, call: Call) -> Answer | None:
        prefix = call.rule_path.rstrip("/")
        if call.pattern is None and prefix and call.path.startswith(prefix):
            rest = call.path[len(prefix) :]
            call.target = (rest if rest.startswith("/") else "/" + rest) + (f"?{call.query}" if call.query else "")
        return None


class Rewrite:
    """Replaces the path; `$1` is a group of the rule's expression."""

    phase: ClassVar[Phase] = Phase.REWRITE

    def __init__(self, path: str) -> None:
        self._path = path

    def request(self, call: Call) -> Answer | None:
        found = call.pattern.match(call.normalized) if call.pattern is not None else None
        groups = found.groups() if found else ()

        def group(match: re.Match[str]) -> str:
            number = int(match[1])
            return (groups[number - 1] or "") if 0 < number <= len(groups) else ""

        path = re.sub(r"\$(\d)", group, self._path)
        call.target = path + (f"?{call.query}" if call.query else "")
        return None


class Only:
    """Knows no rule for other methods or header values."""

    phase: ClassVar[Phase] = Phase.SERVER

    def __init__(self, methods: tuple[str, ...], headers: dict[str, tuple[str, ...]]) -> None:
        self._methods = methods
        self._headers = headers

    def request(self, call: Call) -> Answer | None:
        if self._methods and call.method not in self._methods:
            return Answer(404, f"konghq.com/methods has no {call.method}")
        for name, values in self._headers.items():
            if call.headers.get(name) not in values:
                return Answer(404, f"konghq.com/headers.{name} asks for another value")
        return None


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="konghq.com/")
    draft.ssl_redirect = False
    if draft.flag("strip-path"):
        draft.filters.append(StripPath())
    if (rewrite := draft.text("rewrite")) is not None:
        draft.filters.append(Rewrite(rewrite))
    protocols = draft.words("protocols")
    if protocols and "http" not in protocols:
        status = draft.number("https-redirect-status-code") or 426
        draft.filters.append(HTTPSRedirect(status, "annotation konghq.com/protocols"))
    headers = {name[8:]: draft.words(name) for name in draft.values if name.startswith("headers.")}
    if (methods := draft.words("methods")) or headers:
        draft.filters.append(Only(tuple(each.upper() for each in methods), headers))
    draft.aliases += (each.lower() for each in draft.words("host-aliases"))
    if draft.flag("preserve-host") is False:
        draft.unknown.append("konghq.com/preserve-host: the host is always preserved here")
    kongplugin.apply(draft, draft.words("plugins"))
    ignore(draft, _KNOWN)
    return draft


def paths(path: str, draft: Draft) -> tuple[PathType, str] | re.Pattern[str]:
    return re.compile(path[2:]) if path.startswith("/~") else literal(path, draft)


FLAVOR = Flavor(
    name="kong",
    controller="ingress-controllers.konghq.com/kong",
    namespace="kong",
    workload="kong-gateway",
    service="kong-gateway-proxy",
    image="docker.io/kong/kong-gateway:3.9",
    labels={"app.kubernetes.io/name": "gateway", "app.kubernetes.io/instance": "kong"},
    style=Style(
        server="kong/3.9.0",
        hsts=False,
        forwarded=(
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Proto",
            "X-Forwarded-Path",
        ),
        extra=(("Via", "1.1 kong/3.9.0"),),
        trace="X-Kong-Request-Id",
        body=lambda status, because: (
            "application/json; charset=utf-8",
            json.dumps({"message": _PAGES.get(status, "An unexpected error occurred")}),
        ),
    ),
    options=Options(
        response_filters=(
            SetHeaders(("Via", "1.1 kong/3.9.0")),
            Latency("X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency"),
        ),
        tries=5,
        body_size=0,
    ),
    read=read,
    paths=paths,
    container="proxy",
    definitions=definitions("kong"),
)
