"""A pod's /etc/resolv.conf and /etc/hosts as values, and which names a lookup tries. Pure.

Stands for the kubelet's DNS configurer (pkg/kubelet/network/dns) and for what glibc reads of the two files.
Left out: `sortlist`, and the resolv.conf options that don't change which queries are sent.
Sources: resolv.conf(5), hosts(5), https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

__all__ = ["ResolvConf", "candidates", "hosts_text", "parse_hosts", "pod_names", "pod_resolv_conf", "queries"]

_MAX_NAMESERVERS = 3
"""glibc's MAXNS; Kubernetes cuts at the same (MaxDNSNameservers)."""
_MAX_SEARCH_DOMAINS = 32
_MAX_SEARCH_CHARS = 2048
"""Kubernetes' MaxDNSSearchPaths and MaxDNSSearchListChars."""


class ResolvConf(Struct, frozen=True):
    """What resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """As written: `ndots:5`, `timeout:2`, `rotate`."""

    @classmethod
    def parse(cls, text: str) -> "ResolvConf":
        """Read resolv.conf as glibc does: the last `search` or `domain` wins, options add up, comments start a line."""
        nameservers: list[str] = []
        search: tuple[str, ...] = ()
        options: list[str] = []
        for line in text.splitlines():
            if line[:1] in "#;":
                continue
            match line.split():
                case ["nameserver", address, *_]:
                    nameservers.append(address)
                case ["search", *domains]:
                    search = tuple(domain.removesuffix(".") or "." for domain in domains)
                case ["domain", domain, *_]:
                    search = (domain.removesuffix(".") or ".",)
                case ["options", *more]:
                    options.extend(more)
        return cls(tuple(nameservers), search, tuple(options))

    def text(self) -> str:
        """Return the file, in the order in which the kubelet writes it."""
        lines = []
        if self.search:
            lines.append(f"search {' '.join(self.search)}")
        lines.extend(f"nameserver {address}" for address in self.nameservers)
        if self.options:
            lines.append(f"options {' '.join(self.options)}")
        return "".join(f"{line}\n" for line in lines)

    def _number(self, option: str, default: int, highest: int) -> int:
        for text in reversed(self.options):
            name, _, value = text.partition(":")
            if name == option and value.isdigit():
                return min(int(value), highest)
        return default

    @property
    def ndots(self) -> int:
        return self._number("ndots", 1, 15)

    @property
    def timeout(self) -> int:
        """Seconds to wait for the first nameserver."""
        return self._number("timeout", 5, 30)

    @property
    def attempts(self) -> int:
        return self._number("attempts", 2, 5)

    def wait(self, server: int) -> int:
        """Return how long glibc waits for the `server`th nameserver, in seconds (resolv/res_send.c)."""
        seconds = self.timeout << server
        return max(seconds // len(self.nameservers[:_MAX_NAMESERVERS]) if server else seconds, 1)


def candidates(name: str, conf: ResolvConf) -> list[str]:
    """Return the absolute names that a lookup of `name` tries, in order, until one exists (glibc's res_search).

    1. A trailing dot: only the name itself.
    2. At least ndots dots: the name itself first, then the search list.
    3. Fewer: the search list first, then the name itself.
    """
    if name.endswith("."):
        return [name]
    absolute = f"{name}."
    searched = [f"{name}." if domain == "." else f"{name}.{domain}." for domain in conf.search]
    tried = [absolute, *searched] if name.count(".") >= conf.ndots else [*searched, absolute]
    return list(dict.fromkeys(tried))


def queries(name: str, conf: ResolvConf, types: Iterable[str] = ("A", "AAAA")) -> list[tuple[str, str]]:
    """Return every query (name, type) that looking up `name` costs if none of the names exists.

    A real lookup stops at the first candidate that has an address: with ndots:5 that is why `example.com` costs eight
    queries in a pod and `example.com.` two.
    """
    kinds = tuple(types)
    return [(candidate, kind) for candidate in candidates(name, conf) for kind in kinds]


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Return name (lower case) → addresses of a hosts file, in the file's order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            addresses = found.setdefault(name.lower(), [])
            if address not in addresses:
                addresses.append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}


def hosts_text(
    ip: str, hostname: str, fqdn: str = "", aliases: Iterable[Mapping[str, Any]] = (), *, host_network: bool = False
) -> str:
    """Return the /etc/hosts that the kubelet writes for a pod; `aliases` is the manifest's `hostAliases`."""
    lines = [
        "# Kubernetes-managed hosts file (host network)." if host_network else "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        "\t".join((ip, fqdn, hostname)) if fqdn else f"{ip}\t{hostname}",
    ]
    entries = ["\t".join((str(alias.get("ip", "")), *alias.get("hostnames", ()))) for alias in aliases]
    if entries:
        lines += ["", "# Entries added by HostAliases.", *entries]
    return "\n".join(lines) + "\n"


def pod_names(
    spec: Mapping[str, Any], name: str, namespace: str, *, node: str, cluster_domain: str = "cluster.local"
) -> tuple[str, str]:
    """Return a pod's hostname and, if it has a `subdomain`, its full name (else "")."""
    hostname = node if spec.get("hostNetwork") else str(spec.get("hostname") or name)[:63]
    domain = cluster_domain.strip(".")
    return hostname, f"{hostname}.{spec['subdomain']}.{namespace}.svc.{domain}" if spec.get("subdomain") else ""


def pod_resolv_conf(
    spec: Mapping[str, Any],
    namespace: str,
    *,
    cluster_dns: str,
    cluster_domain: str = "cluster.local",
    host: ResolvConf | None = None,
) -> ResolvConf:
    """Return the resolv.conf of a pod from its `spec` (dnsPolicy, hostNetwork, dnsConfig), as the kubelet does.

    `host` is the node's own resolv.conf. ClusterFirst with hostNetwork is Default, which surprises people:
    ClusterFirstWithHostNet is the policy for such pods.
    """
    host = host or ResolvConf()
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    domain = cluster_domain.strip(".")
    match policy:
        case "None":
            base = ResolvConf()
        case "Default":
            base = host
        case _:
            own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
            base = ResolvConf((cluster_dns,), tuple(dict.fromkeys((*own, *host.search))), ("ndots:5",))
    config = spec.get("dnsConfig") or {}
    nameservers = tuple(dict.fromkeys((*base.nameservers, *(config.get("nameservers") or ()))))
    search = tuple(dict.fromkeys((*base.search, *(config.get("searches") or ()))))
    options = {text.partition(":")[0]: text for text in base.options}
    for option in config.get("options") or ():
        name, value = str(option.get("name", "")), option.get("value")
        options[name] = name if value in (None, "") else f"{name}:{value}"
    return ResolvConf(nameservers[:_MAX_NAMESERVERS], _limited(search), tuple(options.values()))


def _limited(search: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    for domain in search[:_MAX_SEARCH_DOMAINS]:
        if len(" ".join((*kept, domain))) > _MAX_SEARCH_CHARS:
            break
        kept.append(domain)
    return tuple(kept)
