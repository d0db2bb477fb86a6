"""What annotation files write into: the settings of one Ingress in the making, with readers for values."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.options import Filter, Options, ResponseFilter
from minikube_py.ingress.router import BackendKey, Canary
from minikube_py.ingress.rules.sources import Sources

__all__ = ["PREFIX", "Draft"]

PREFIX = "nginx.ingress.kubernetes.io/"
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Draft:
    """The annotations of one Ingress, read one by one."""

    def __init__(self, ingress: Object, sources: Sources, defaults: Options, *, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self.key = meta.key(ingress)
        self.sources = sources
        self.has_tls = bool(meta.spec(ingress).get("tls"))
        self.values: Mapping[str, str] = {
            name[len(prefix) :]: str(value)
            for name, value in meta.annotations(ingress).items()
            if name.startswith(prefix)
        }
        self.problems: list[str] = []
        self.unknown: list[str] = []
        self.filters: list[Filter] = []
        self.response_filters: list[ResponseFilter] = []
        self.references: set[tuple[str, Key]] = set()
        """Secrets and ConfigMaps that were looked at, found or not."""
        self.aliases: list[str] = []
        """From an annotation that `rules.incremental` knows, too."""
        self.regex = False
        self.ssl_redirect = True
        """Redirect HTTP where the host has TLS."""
        self.force_ssl_redirect = False
        self.preserve_trailing_slash = False
        self.relative_redirects = False
        self.www_redirect = 0
        """Status code of from-to-www-redirect; 0 is off."""
        self.service_upstream = False
        self.passthrough = False
        self.default_backend: BackendKey | None = None
        self.actions: dict[str, Filter] = {}
        """Answers in place of backends: what a backend named `use-annotation` means (ALB)."""
        self.forwards: dict[str, list[tuple[str, str, int]]] = {}
        """Weighted (Service, port, weight)s in place of one backend, by the same kind of name."""
        self.canary: Canary | None = None
        self.finish: list[Callable[[list[Filter]], list[Filter]]] = []
        """What is done to the filters once all annotations are read."""
        self._defaults = defaults
        self._changes: dict[str, Any] = {}

    # Results

    def set(self, **changes: Any) -> None:
        """Set fields of `Options`."""
        self._changes.update(changes)

    def options(self) -> Options:
        """Return the settings; one object for all locations of the Ingress."""
        if not (self._changes or self.filters or self.response_filters):
            return self._defaults
        filters = self.filters
        for step in self.finish:
            filters = step(filters)
        return replace(
            self._defaults,
            **self._changes,
            filters=tuple(sorted(filters, key=lambda each: each.phase)),
            response_filters=(*self._defaults.response_filters, *self.response_filters),
        )

    def problem(self, name: str, why: str) -> None:
        """Report a value; it is then as if the annotation were not there."""
        self.problems.append(f'{self.prefix}{name}: "{self.values.get(name, "")}" {why}; the annotation is ignored')

    # Readers: None where the annotation is missing or unreadable

    def text(self, name: str) -> str | None:
        value = self.values.get(name, "").strip()
        return value or None

    def flag(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is None:
            return None
        if value.lower() in ("true", "1", "t"):
            return True
        if value.lower() in ("false", "0", "f"):
            return False
        self.problem(name, 'must be "true" or "false"')
        return None

    def number(self, name: str, least: int = 0) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,9}", value.strip()) or int(value) < least:
            self.problem(name, f"must be a whole number from {least} up")
            return None
        return int(value)

    def seconds(self, name: str) -> float | None:
        """Read a number of seconds; nginx's unit `s` may follow."""
        value = self.values.get(name)
        if value is None:
            return None
        match = re.fullmatch(r"(\d{1,9})s?", value.strip())
        if not match:
            self.problem(name, "must be a number of seconds")
            return None
        return float(match[1])

    def size(self, name: str) -> int | None:
        """Read bytes as nginx writes them: `8m`, `512k`, `0`."""
        value = self.values.get(name)
        if value is None:
            return None
        match = re.fullmatch(r"(\d{1,12})([kmg]?)", value.strip().lower())
        if not match:
            self.problem(name, "must be a size such as 8m")
            return None
        return int(match[1]) * _SIZES[match[2]]

    def words(self, name: str) -> tuple[str, ...]:
        """Read a comma-separated list."""
        return tuple(word.strip() for word in self.values.get(name, "").split(",") if word.strip())

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...] | None:
        """Read comma-separated CIDRs or addresses."""
        try:
            return tuple(ip_network(word, strict=False) for word in self.words(name)) or None
        except ValueError as error:
            self.problem(name, f"must be comma-separated CIDRs ({error})")
            return None

    def pattern(self, name: str) -> re.Pattern[str] | None:
        value = self.values.get(name)
        if value is None:
            return None
        try:
            return re.compile(value)
        except re.error as error:
            self.problem(name, f"is no regular expression ({error})")
            return None

    def object(self, resource: str, name: str, text: str) -> Object | None:
        """Return the Secret or ConfigMap that `text` (`name` or `namespace/name`) names; missing is a problem."""
        namespace, _, short = text.rpartition("/")
        key = Key(namespace or self.key.namespace, short)
        self.references.add((resource, key))
        found = self.sources.get(resource, key)
        if found is None:
            self.problems.append(f"{self.prefix}{name}: {resource[:-1]} {key} does not exist")
        return found
