"""Our own document, `apiVersion: minikube-py/v1alpha1, kind: Cluster`: how the cluster itself is to be.

Stands for kind's cluster configuration, whose names it takes. It may stand in any `-f` file or in `--config`; it is
never stored, so manifests beside it stay ordinary Kubernetes.

    apiVersion: minikube-py/v1alpha1
    kind: Cluster
    nodes: 3                                   # or kind's list: [{role: control-plane}, {role: worker}]
    networking: {podSubnet: 127.244.0.0/16, kubeProxyMode: roundrobin, deny: drop}
    images: {"ghcr.io/acme/api:*": {asgi: "acme.api:app"}}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from minikube_py.apimachinery import names
from minikube_py.apimachinery.errors import FieldError, invalid_value, not_supported, required
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.imagemapping import IMAGE_KINDS, mapping_errors

__all__ = [
    "API_VERSION",
    "CNI",
    "DENY",
    "IMAGE_KINDS",
    "KUBE_PROXY_MODES",
    "ApiServer",
    "ClusterConfig",
    "ConfigError",
    "Dns",
    "Ingress",
    "Networking",
    "check",
]

API_VERSION = "minikube-py/v1alpha1"
CNI = ("calico", "cilium", "weave", "flannel", "kindnet", "none")
KUBE_PROXY_MODES = ("roundrobin", "random", "leastconn", "sourcehash")
DENY = ("drop", "hold", "reset")
INGRESS_CONTROLLERS = ("nginx", "traefik", "alb", "gce", "kong", "istio", "contour")


class ConfigError(ValueError):
    """What is wrong with the document: every error, one a line."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Networking:
    """Address ranges (None: the first free slice of the machine) and how the network behaves."""

    pod_subnet: IPv4Network | None = None
    service_subnet: IPv4Network | None = None
    node_subnet: IPv4Network | None = None
    load_balancer_pool: IPv4Network | None = None
    cni: str = "calico"
    """Whose behaviour the policies have; flannel and none store them without effect."""
    kube_proxy_mode: str = "roundrobin"
    """roundrobin is deterministic; real iptables mode is `random`."""
    deny: str = "drop"
    """What a denied caller sees: drop (no answer, where the kernel lets us), hold (accepted, silent), reset."""
    load_balancer: bool = True
    """False: no provider; Services of type LoadBalancer stay `<pending>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """CoreDNS."""

    domain: str = "cluster.local"
    upstreams: tuple[str, ...] = ()
    """`address` or `address:port`; empty: those of the host's /etc/resolv.conf."""
    replicas: int = 2
    stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Domain → the name servers that answer for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """The ingress controllers."""

    enabled: bool = True
    controllers: tuple[str, ...] = ("nginx",)
    """Those that run, of `INGRESS_CONTROLLERS`; the first has the default class and the doors on 127.0.0.1.

    Empty if not `enabled`.
    """
    asked: tuple[str, ...] = ()
    """Those of them that the file doesn't list: manifests ask for their classes."""
    http_port: int = 8080
    """On 127.0.0.1; the next free port where it is taken."""
    https_port: int = 8443


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """The API server's front for kubectl."""

    port: int = 6443
    """On 127.0.0.1; the next free port where it is taken."""
    version: str = "1.32"
    """What `/version` reports; kubectl dispatchers follow it."""
    default_toleration_seconds: int = 300
    """How long pods stay on a lost node unless they say it themselves (kube-apiserver's
    --default-not-ready-toleration-seconds and --default-unreachable-toleration-seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """A whole cluster."""

    name: str = "default"
    nodes: int = 3
    """All of them; the first is the control plane."""
    networking: Networking = field(default_factory=Networking)
    dns: Dns = field(default_factory=Dns)
    ingress: Ingress = field(default_factory=Ingress)
    api_server: ApiServer = field(default_factory=ApiServer)
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Image pattern → what runs (`imagemapping.py`)."""
    seed: int | None = None
    """Of everything drawn by chance (pod names, addresses); None: another one each time."""

    @classmethod
    def from_object(cls, obj: Object) -> "ClusterConfig":
        """Read the document.

        Error handling: ConfigError with all that is wrong, each with its field path.
        """
        errors: list[FieldError] = []
        config = _read(obj, errors)
        if errors:
            raise ConfigError(errors)
        return config


def check(obj: Object) -> list[FieldError]:
    """Return everything that is wrong with the document."""
    errors: list[FieldError] = []
    _read(obj, errors)
    return errors


_MACHINE = IPv4Address("127.0.0.1")


class _Reader:
    """Takes typed values out of one mapping and remembers what is wrong with them."""

    def __init__(self, value: Any, path: str, known: tuple[str, ...], errors: list[FieldError]) -> None:
        self._errors = errors
        self._path = path
        self._value: Mapping[str, Any] = value if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            errors.append(invalid_value(path, value, "must be a mapping"))
        for key in self._value:
            if key not in known:
                near = names.nearest(str(key), known)
                hint = f', did you mean "{near}"?' if near else f"; known are {', '.join(known)}"
                errors.append(FieldError(self.at(str(key)), "FieldValueInvalid", f"unknown field{hint}"))

    def at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str) -> Any:
        return self._value.get(key)

    def typed(self, key: str, type_: type, default: Any, what: str) -> Any:
        value = self._value.get(key)
        if value is None:
            return default
        if type(value) is not type_:
            self._errors.append(invalid_value(self.at(key), value, f"must be {what}"))
            return default
        return value

    def text(self, key: str, default: str) -> str:
        return str(self.typed(key, str, default, "a string"))

    def boolean(self, key: str, default: bool) -> bool:
        return bool(self.typed(key, bool, default, "true or false"))

    def number(self, key: str, default: int, low: int, high: int) -> int:
        value = self.typed(key, int, default, "a whole number")
        if not low <= value <= high:
            self._errors.append(invalid_value(self.at(key), value, f"must be between {low} and {high}, inclusive"))
            return default
        return int(value)

    def one_of(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in choices:
            self._errors.append(not_supported(self.at(key), value, choices))
            return default
        return value

    def network(self, key: str, longest: int) -> IPv4Network | None:
        value = self.typed(key, str, None, "a loopback network such as 127.244.0.0/16")
        if value is None:
            return None
        try:
            network = IPv4Network(value)
        except ValueError as error:
            self._errors.append(invalid_value(self.at(key), value, f"must be an IPv4 network: {error}"))
            return None
        if not network.is_loopback:
            stands = (
                f"127.{value.split('.', 1)[1]}" if value.startswith("10.") and value[3] != "0" else "127.244.0.0/16"
            )
            why = f"must lie in 127.0.0.0/8, because every address is a socket on the loopback interface (try {stands})"
            self._errors.append(invalid_value(self.at(key), value, why))
            return None
        if _MACHINE in network:
            self._errors.append(invalid_value(self.at(key), value, f"must not have {_MACHINE} in it: this machine's"))
            return None
        if network.prefixlen > longest:
            self._errors.append(invalid_value(self.at(key), value, f"is too small: the prefix must be ≤ /{longest}"))
            return None
        return network

    def texts(self, key: str, accept: Callable[[str], bool], what: str) -> tuple[str, ...]:
        values = self.typed(key, list, [], "a list")
        for index, value in enumerate(values):
            if not isinstance(value, str) or not accept(value):
                self._errors.append(invalid_value(f"{self.at(key)}[{index}]", value, f"must be {what}"))
        return tuple(map(str, values))


def _read(obj: Object, errors: list[FieldError]) -> ClusterConfig:
    known = ("apiVersion", "kind", "name", "nodes", "networking", "dns", "ingress", "images", "seed", "apiServer")
    top = _Reader({k: v for k, v in obj.items() if k != "metadata"}, "", known, errors)
    if obj.get("kind") != "Cluster":
        errors.append(not_supported("kind", obj.get("kind"), ("Cluster",)))
    name = top.text("name", "default")
    if "metadata" in obj:  # as every Kubernetes object has it: the same thing
        metadata = _Reader(obj["metadata"], "metadata", ("name",), errors)
        name = metadata.text("name", name)
    for error in names.dns_label_errors(name):
        errors.append(invalid_value("name", name, error))
    return ClusterConfig(
        name=name,
        nodes=_nodes(top, errors),
        networking=_networking(top.get("networking"), errors),
        dns=_dns(top.get("dns"), errors),
        ingress=_ingress(top.get("ingress"), errors),
        api_server=_api_server(top.get("apiServer"), errors),
        images=_images(top.get("images"), errors),
        seed=top.typed("seed", int, None, "a whole number"),
    )


def _nodes(top: _Reader, errors: list[FieldError]) -> int:
    value = top.get("nodes")
    if not isinstance(value, list):
        return top.number("nodes", 3, 1, 250)
    if not value:
        errors.append(required("nodes", "at least one node"))
        return 1
    control_planes = 0
    for index, item in enumerate(value):
        node = _Reader(item, f"nodes[{index}]", ("role",), errors)
        control_planes += node.one_of("role", "control-plane", ("control-plane", "worker")) == "control-plane"
    if control_planes != 1:
        errors.append(invalid_value("nodes", value, f"must have one control-plane, has {control_planes}"))
    return len(value)


def _networking(value: Any, errors: list[FieldError]) -> Networking:
    known = (
        "podSubnet",
        "serviceSubnet",
        "nodeSubnet",
        "loadBalancerPool",
        "loadBalancer",
        "cni",
        "kubeProxyMode",
        "deny",
    )
    reader = _Reader(value, "networking", known, errors)
    networking = Networking(
        pod_subnet=reader.network("podSubnet", 23),
        service_subnet=reader.network("serviceSubnet", 27),
        node_subnet=reader.network("nodeSubnet", 29),
        load_balancer_pool=reader.network("loadBalancerPool", 30),
        cni=reader.one_of("cni", "calico", CNI),
        kube_proxy_mode=reader.one_of("kubeProxyMode", "roundrobin", KUBE_PROXY_MODES),
        deny=reader.one_of("deny", "drop", DENY),
        load_balancer=reader.boolean("loadBalancer", True),
    )
    ranges = [
        ("podSubnet", networking.pod_subnet),
        ("serviceSubnet", networking.service_subnet),
        ("nodeSubnet", networking.node_subnet),
        ("loadBalancerPool", networking.load_balancer_pool),
    ]
    given = [(key, network) for key, network in ranges if network is not None]
    for index, (key, network) in enumerate(given):
        for other_key, other in given[:index]:
            if network.overlaps(other):
                errors.append(invalid_value(f"networking.{key}", str(network), f"overlaps {other_key} {other}"))
    return networking


def _is_server(text: str) -> bool:
    address, _, port = text.partition(":")
    try:
        IPv4Address(address)
    except ValueError:
        return False
    return not port or (port.isdigit() and 0 < int(port) < 65536)


_SERVER = "an IPv4 address, with :port if it is not 53"


def _dns(value: Any, errors: list[FieldError]) -> Dns:
    reader = _Reader(value, "dns", ("domain", "upstreams", "replicas", "stubDomains"), errors)
    domain = reader.text("domain", "cluster.local").rstrip(".")
    for error in names.dns_subdomain_errors(domain):
        errors.append(invalid_value("dns.domain", domain, error))
    stubs_value = reader.typed("stubDomains", dict, {}, "a mapping of domains to lists of name servers")
    stubs = _Reader(stubs_value, "dns.stubDomains", tuple(stubs_value), errors)
    return Dns(
        domain=domain,
        upstreams=reader.texts("upstreams", _is_server, _SERVER),
        replicas=reader.number("replicas", 2, 0, 100),
        stub_domains={str(stub): stubs.texts(stub, _is_server, _SERVER) for stub in stubs_value},
    )


def _ingress(value: Any, errors: list[FieldError]) -> Ingress:
    reader = _Reader(value, "ingress", ("enabled", "controllers", "httpPort", "httpsPort"), errors)
    given = reader.texts("controllers", INGRESS_CONTROLLERS.__contains__, f"one of {', '.join(INGRESS_CONTROLLERS)}")
    wanted = given if reader.get("controllers") is not None else ("nginx",)
    if len(set(wanted)) != len(wanted):
        errors.append(invalid_value("ingress.controllers", list(wanted), "must name each controller once"))
    if not reader.boolean("enabled", True):
        wanted = ()
    return Ingress(
        enabled=bool(wanted),
        controllers=wanted,
        http_port=reader.number("httpPort", 8080, 1, 65535),
        https_port=reader.number("httpsPort", 8443, 1, 65535),
    )


def _api_server(value: Any, errors: list[FieldError]) -> ApiServer:
    reader = _Reader(value, "apiServer", ("port", "version", "defaultTolerationSeconds"), errors)
    return ApiServer(
        port=reader.number("port", 6443, 1, 65535),
        version=reader.text("version", "1.32"),
        default_toleration_seconds=reader.number("defaultTolerationSeconds", 300, 0, 86400),
    )


def _images(value: Any, errors: list[FieldError]) -> Mapping[str, Mapping[str, Any]]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        errors.append(invalid_value("images", value, "must map image patterns to what runs"))
        return {}
    for pattern, runs in value.items():
        errors += mapping_errors(f"images[{pattern}]", runs)
    return value
