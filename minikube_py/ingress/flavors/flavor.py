"""What makes one ingress controller differ from another."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations import read as read_nginx
from minikube_py.ingress.options import DEFAULTS, Answer, Call, Headers, Options, Phase
from minikube_py.ingress.proxy.pages import NGINX, Style
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.ingress.urls import location
from minikube_py.kinds.controllerkinds import resource

if TYPE_CHECKING:
    from minikube_py.ingress.resources.routes import Custom

__all__ = [
    "Flavor",
    "HTTPSRedirect",
    "Latency",
    "OnlyScheme",
    "SetHeaders",
    "as_regex",
    "envoy_page",
    "ignore",
    "literal",
]

Status = Callable[[Object, Sequence[str], Sequence[str], float], Object]
Paths = Callable[[str, Draft], tuple[PathType, str] | re.Pattern[str]]


def literal(path: str, draft: Draft) -> tuple[PathType, str]:
    """ImplementationSpecific as a prefix of the text, whatever the elements are."""
    return PathType.IMPLEMENTATION_SPECIFIC, path


def as_regex(type_: PathType, path: str) -> re.Pattern[str]:
    """Return a path of an ordinary type as an expression, for hosts that have expressions too."""
    match type_:
        case PathType.EXACT:
            return re.compile(re.escape(path) + r"\Z")
        case PathType.PREFIX:
            return re.compile(re.escape(path.rstrip("/")) + r"(?:/|\Z)")
        case _:
            return re.compile(re.escape(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """One controller: names as its own manifests have them, and its behaviour."""

    name: str
    """Of its IngressClass."""
    controller: str
    namespace: str
    workload: str
    """Name of its Deployment."""
    service: str
    """Name of its LoadBalancer Service."""
    image: str
    args: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    style: Style = NGINX
    options: Options = DEFAULTS
    """Its defaults."""
    read: Callable[[Object, Sources, Options], Draft] = read_nginx
    paths: Paths | None = None
    """What ImplementationSpecific means; None is ingress-nginx's way, with its regular expressions per host."""
    container: str = "controller"
    definitions: tuple[Object, ...] = ()
    """CustomResourceDefinitions that installing it brings (`kinds.controllerkinds`)."""
    routes: "Callable[[Custom], None] | None" = None
    """Compiles what those resources route."""
    statuses: Mapping[str, Status] = field(default_factory=dict)
    """Resource → (object, what is wrong with it, the controller's addresses, now) → its status."""
    prefixes_are_text: bool = False
    """Prefix means the beginning of the text, not whole elements."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources of the definitions, as the API names them."""
        return tuple(map(resource, self.definitions))


def ignore(draft: Draft, known: Sequence[str], why: str = "is not emulated") -> None:
    """Report the annotations that are neither handled nor harmless."""
    for name in sorted(draft.values):
        if not any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in known):
            draft.unknown.append(f"{draft.prefix}{name} {why} and has no effect")


class HTTPSRedirect:
    """Sends HTTP requests to the same URI over HTTPS."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    only_http: ClassVar[bool] = True
    stateless: ClassVar[bool] = True

    def __init__(self, status: int, because: str) -> None:
        self._status = status
        self._because = because

    def request(self, call: Call) -> Answer | None:
        if call.scheme == "https":
            return None
        if self._status == 426:  # Kong's default: a refusal that names the way, not a redirect
            return Answer(426, self._because, (("Connection", "Upgrade"), ("Upgrade", "TLS/1.2, HTTP/1.1")))
        return Answer(self._status, self._because, (("Location", location(call, scheme="https")),))


class OnlyScheme:
    """Knows no rule for requests by the other scheme."""

    phase: ClassVar[Phase] = Phase.SERVER
    stateless: ClassVar[bool] = True

    def __init__(self, scheme: str, because: str) -> None:
        self._scheme = scheme
        self._because = because

    def request(self, call: Call) -> Answer | None:
        return None if call.scheme == self._scheme else Answer(404, self._because)


_ENVOY = {
    404: "",
    502: "upstream connect error or disconnect/reset before headers",
    503: "no healthy upstream",
    504: "upstream request timeout",
}


def envoy_page(status: int, because: str) -> tuple[str, str]:
    """Return what Envoy says; the reason is in a header (`X-Ingress-Reason`) only."""
    return "text/plain", _ENVOY.get(status, because)


class Latency:
    """Tells in headers of answers how many milliseconds pods, and the controller itself, have taken."""

    def __init__(self, upstream: str, own: str = "") -> None:
        self._upstream = upstream
        self._own = own

    def response(self, call: Call, status: int, headers: Headers) -> None:
        if call.endpoint is None:
            return
        headers.append((self._upstream, f"{(call.answered_at - call.sent_at) * 1000:.0f}"))
        if self._own:
            headers.append((self._own, f"{(call.sent_at - call.now) * 1000:.0f}"))


class SetHeaders:
    """Sets headers of every answer."""

    def __init__(self, *headers: tuple[str, str]) -> None:
        self._headers = headers

    def response(self, call: Call, status: int, headers: Headers) -> None:
        for name, value in self._headers:
            headers[:] = [each for each in headers if each[0].lower() != name.lower()]
            headers.append((name, value))
