"""From objects to `Rules`: merge Ingresses, settle conflicts, read annotations. Pure.

Ingresses are merged oldest first (creationTimestamp, then namespace/name, as ingress-nginx does): of two rules for the
same host and path the older one stays, and the younger Ingress gets a warning. What becomes of an Ingress depends only
on those that have a say in the same names (`incremental.say`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import accumulate
from typing import Any, ParamSpec, TypeVar

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations.from_to_www_redirect import RedirectHost
from minikube_py.ingress.annotations.ssl_redirect import SSLRedirect
from minikube_py.ingress.flavors.flavor import Flavor, as_regex
from minikube_py.ingress.flavors.nginx import FLAVOR as NGINX
from minikube_py.ingress.options import DEFAULTS, Options
from minikube_py.ingress.router import BackendKey, Canary, Location, Paths, PathType, RoutingTable
from minikube_py.ingress.rules.classes import claim
from minikube_py.ingress.rules.rules import Problem, Rules, TLSHost
from minikube_py.ingress.rules.sources import INGRESS_CLASSES, INGRESSES, Sources
from minikube_py.kinds.controllerkinds import WITHOUT_EFFECT

__all__ = ["DEFAULT_BACKEND", "Compiler", "by_service", "compile_rules", "tls_hosts", "with_custom"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
_STRICT = re.compile(r"/[A-Za-z0-9_./-]*")
"""What paths of the types Exact and Prefix may be made of (ingress-nginx: strict-validate-path-type)."""
DEFAULT_BACKEND = Key("", "(default backend)")
"""Whose the location of the controller's own default backend is."""


def _age(ingress: Object) -> tuple[str, str, str]:
    return ingress["metadata"].get("creationTimestamp") or "", meta.namespace(ingress), meta.name(ingress)


def tls_hosts(ingress: Object) -> Iterator[tuple[str, Key | None]]:
    """Yield (host, its Secret) of the TLS sections; "" is a section for any host."""
    spec = meta.spec(ingress)
    for section in spec.get("tls") or ():
        secret = Key(meta.namespace(ingress), section["secretName"]) if section.get("secretName") else None
        hosts = section.get("hosts") or [rule.get("host") or "" for rule in spec.get("rules") or ()] or [""]
        for host in hosts:
            yield host.lower(), secret


def _variants(draft: Draft) -> tuple[Options, Options]:
    """Return the settings for hosts without and with TLS."""
    plain = draft.options()
    redirecting = replace(plain, filters=(SSLRedirect(draft.preserve_trailing_slash), *plain.filters))
    return redirecting if draft.force_ssl_redirect else plain, (
        redirecting if draft.ssl_redirect or draft.force_ssl_redirect else plain
    )


class _Host:
    """One server in the making."""

    def __init__(self) -> None:
        self.locations: dict[tuple[PathType, str], Location] = {}
        self.default: Location | None = None
        self.regex = False


class Compiler:
    """Compiles the Ingresses of `sources`, once; `others` are the TLS hosts of Ingresses that are not among them."""

    def __init__(
        self,
        sources: Sources,
        controller: str,
        defaults: Options,
        backend: BackendKey | None,
        flavor: Flavor,
        *,
        others: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self.others = others
        self.flavor = flavor
        self.controller_backend = backend
        self.sources = sources
        self.controller = controller
        self.defaults = defaults
        self.hosts: dict[str, _Host] = {}
        self.default: Location | None = None
        self.default_of_rules: Location | None = None
        self.problems: dict[Key, list[Problem]] = {}
        self.tls: dict[str, TLSHost] = {}
        self.used: dict[Key, dict[BackendKey, None]] = {}
        self.references: dict[tuple[str, Key], set[Key]] = {}
        self.passthrough: dict[str, BackendKey] = {}
        self.unserved: dict[Key, str] = {}
        self.served: list[tuple[Object, Draft]] = []

    def problem(self, key: Key, reason: str, message: str) -> None:
        self.problems.setdefault(key, []).append(Problem(reason, message))

    def run(self) -> Rules:
        classes = list(self.sources.all(INGRESS_CLASSES).values())
        for ingress in sorted(self.sources.all(INGRESSES).values(), key=_age):
            key = meta.key(ingress)
            if meta.terminating(ingress):
                continue
            verdict = claim(ingress, classes, self.controller, (self.flavor.name,))
            if not verdict.served:
                if verdict.orphan:
                    self.unserved[key] = f"Ingress {key}: {verdict.because}"
                continue
            draft = self._guarded(ingress, self.flavor.read, ingress, self.sources, self.defaults)
            if draft is None:
                continue
            for message in draft.problems:
                self.problem(key, "InvalidAnnotation", message)
            for message in draft.unknown:
                self.problem(key, "UnknownAnnotation", message)
            for reference in draft.references:
                self.references.setdefault(reference, set()).add(key)
            self.served.append((ingress, draft))
        for ingress, _ in self.served:
            self._guarded(ingress, self._tls, ingress)
        for ingress, draft in self.served:
            if draft.canary is None:
                self._guarded(ingress, self._ingress, ingress, draft)
        for ingress, draft in self.served:
            if draft.canary is not None:
                self._guarded(ingress, self._canary, ingress, draft.canary)
        for ingress, draft in self.served:
            if draft.canary is None:
                self._guarded(ingress, self._host_settings, ingress, draft)
        return self._finish()

    def _guarded(self, ingress: Object, step: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Take one step of one Ingress: an object that is not as the API has it must not take the others down."""
        try:
            return step(*args, **kwargs)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            why = f"it is malformed and left out as far as it is: {type(error).__name__}: {error}"
            self.problem(meta.key(ingress), "Malformed", why)
            return None

    # One Ingress

    def _backend(
        self, key: Key, spec: Mapping[str, Any] | None, *, by_service: bool = False
    ) -> tuple[BackendKey | None, str]:
        """Return what an Ingress's backend means, or why it can't be used."""
        service = (spec or {}).get("service")
        if not service:
            resource = (spec or {}).get("resource") or {}
            kind = resource.get("kind", "unknown")
            why = f"resource backends are not supported by this controller ({kind}/{resource.get('name', '')})"
            self.problem(key, "ResourceBackendNotSupported", why)
            return None, why
        port = service.get("port") or {}
        text = port.get("name") or (str(port["number"]) if port.get("number") else "")
        return self._use(key, BackendKey(key.namespace, service["name"], text, by_service)), ""

    def _use(self, ingress: Key, backend: BackendKey) -> BackendKey:
        self.used.setdefault(ingress, {})[backend] = None
        return backend

    def _ingress(self, ingress: Object, draft: Draft) -> None:
        key = meta.key(ingress)
        spec = meta.spec(ingress)
        plain, secure = map(self._with_error_backend, _variants(draft))
        if plain.error_codes and plain.error_backend is None:
            why = "custom-http-errors has no effect: neither the Ingress nor the controller has a default backend"
            self.problem(key, "InvalidAnnotation", why)
        if isinstance(plain.error_backend, BackendKey):
            self._use(key, plain.error_backend)
        fallback = self._use(key, draft.default_backend) if draft.default_backend else None
        default: Location | None = None
        rules = spec.get("rules") or ()
        if spec.get("defaultBackend"):
            backend, refused = self._backend(key, spec["defaultBackend"], by_service=draft.service_upstream)
            default = Location(key, "", "/", PathType.DEFAULT, backend, refused, plain, fallback=fallback)
            if rules:
                self.default_of_rules = self.default_of_rules or default
            elif self.default is None:
                self.default = default
            else:
                self.problem(
                    key,
                    "Conflict",
                    f"the default backend of Ingress {self.default.ingress} is older and stays in force",
                )
        for rule in rules:
            host = (rule.get("host") or "").lower()
            server = self.hosts.setdefault(host, _Host())
            server.regex = server.regex or draft.regex
            options = secure if self._has_tls(host) else plain
            if default is not None and server.default is None:
                server.default = replace(default, host=host, options=options, tls=self._has_tls(host))
            for each in (rule.get("http") or {}).get("paths") or ():
                self._path(ingress, draft, options, host, server, each, fallback)
            if not rule.get("http") and default is None:
                self.problem(
                    key, "NoPaths", f'the rule for host "{host}" has no paths and the Ingress no default backend'
                )

    def _with_error_backend(self, options: Options) -> Options:
        if options.error_codes and options.error_backend is None and self.controller_backend is not None:
            return replace(options, error_backend=self.controller_backend)
        return options

    def _path(
        self,
        ingress: Object,
        draft: Draft,
        options: Options,
        host: str,
        server: _Host,
        spec: Mapping[str, Any],
        fallback: BackendKey | None,
    ) -> None:
        key = meta.key(ingress)
        written = spec.get("path") or "/"
        meant = self._meaning(key, draft, written, PathType(spec.get("pathType") or "ImplementationSpecific"))
        if meant is None:
            return
        type_, path, pattern = meant
        server.regex = server.regex or pattern is not None
        named = (spec.get("backend") or {}).get("service") or {}
        action = named.get("name") if (named.get("port") or {}).get("name") == "use-annotation" else None
        backend: BackendKey | None = None
        canaries: tuple[Canary, ...] = ()
        if action in draft.actions:
            options = replace(options, filters=(*options.filters, draft.actions[action]))
            refused = "answered by an action"
        elif action in draft.forwards:
            backend, canaries = self._forward(key, draft.forwards[action])
            refused = "every weight of the action is 0"
        else:
            backend, refused = self._backend(key, spec.get("backend"), by_service=draft.service_upstream)
        identity = (type_, (path.rstrip("/") or "/") if type_ is PathType.PREFIX else path)
        if (older := server.locations.get(identity)) is not None:
            if older.ingress != key or older.backend != backend:
                self.problem(
                    key,
                    "Conflict",
                    f'host "{host or "*"}" path "{path}" ({type_.value}) belongs to Ingress {older.ingress}, '
                    "which is older and stays in force",
                )
            return
        if self.flavor.paths is None:
            self._doubts(key, draft, type_, path)
        server.locations[identity] = Location(
            key, host, path, type_, backend, refused, options, pattern, canaries, fallback, self._has_tls(host)
        )

    def _meaning(
        self, key: Key, draft: Draft, path: str, type_: PathType
    ) -> tuple[PathType, str, re.Pattern[str] | None] | None:
        """Return what the controller takes a path for; None if it can't be read."""
        if type_ is PathType.IMPLEMENTATION_SPECIFIC and self.flavor.paths is not None:
            try:
                meant = self.flavor.paths(path, draft)
            except re.error as error:
                self.problem(key, "InvalidPath", f'path "{path}" is no regular expression: {error}')
                return None
            return (type_, path, meant) if isinstance(meant, re.Pattern) else (*meant, None)
        if type_ is PathType.PREFIX and self.flavor.prefixes_are_text:
            type_ = PathType.IMPLEMENTATION_SPECIFIC
        return type_, path, None

    def _doubts(self, key: Key, draft: Draft, type_: PathType, path: str) -> None:
        """Tell of a path that ingress-nginx would refuse, or that hardly means what it says."""
        if type_ is not PathType.IMPLEMENTATION_SPECIFIC:
            if not _STRICT.fullmatch(path):
                self.problem(
                    key,
                    "InvalidPathType",
                    f"path {path} cannot be used with pathType {type_.value}: ingress-nginx's webhook refuses it "
                    "by default (strict-validate-path-type), here it is served; use ImplementationSpecific",
                )
        elif not draft.regex and re.search(r"[(\[*|^$]", path):
            self.problem(
                key,
                "PathIsNoRegex",
                f'path "{path}" looks like a regular expression but is compared literally: '
                'annotate nginx.ingress.kubernetes.io/use-regex: "true"',
            )

    def _forward(self, key: Key, shares: list[tuple[str, str, int]]) -> tuple[BackendKey | None, tuple[Canary, ...]]:
        """Return (where the last share of requests goes, the shares before it) of weighted Services."""
        weighted = [(self._use(key, BackendKey(key.namespace, s, p)), weight) for s, p, weight in shares if weight > 0]
        total = sum(weight for _, weight in weighted)
        ends = list(accumulate(weight for _, weight in weighted))
        before = zip(weighted[:-1], ends, strict=False)
        canaries = tuple(Canary(key, each, weight=end, weight_total=total) for (each, _), end in before)
        return (weighted[-1][0] if weighted else None), canaries

    def _canary(self, ingress: Object, canary: Canary) -> None:
        key = meta.key(ingress)
        for rule in meta.spec(ingress).get("rules") or ():
            host = (rule.get("host") or "").lower()
            server = self.hosts.get(host)
            for each in (rule.get("http") or {}).get("paths") or ():
                backend, _ = self._backend(key, each.get("backend"))
                path = each.get("path") or "/"
                found = [i for i in server.locations if i[1] in (path, path.rstrip("/") or "/")] if server else []
                if backend is None:
                    continue
                if server is None or not found:
                    self.problem(
                        key, "CanaryWithoutMain", f'no Ingress without canary has host "{host or "*"}" path "{path}"'
                    )
                    continue
                for identity in found:
                    main = server.locations[identity]
                    if main.canaries:
                        self.problem(
                            key,
                            "Conflict",
                            f'host "{host or "*"}" path "{path}" already has the canary {main.canaries[0].ingress}',
                        )
                        continue
                    server.locations[identity] = replace(main, canaries=(replace(canary, backend=backend),))

    def _host_settings(self, ingress: Object, draft: Draft) -> None:
        key = meta.key(ingress)
        for host in dict.fromkeys((rule.get("host") or "").lower() for rule in meta.spec(ingress).get("rules") or ()):
            for alias in draft.aliases:
                if alias in self.hosts:
                    self.problem(key, "Conflict", f'server-alias "{alias}" is a host with rules of its own: ignored')
                elif host in self.hosts:
                    self.hosts[alias] = self.hosts[host]
            if draft.passthrough and host:
                self._passthrough(key, host)
            if draft.www_redirect and host and not host.startswith("*"):
                other = host[4:] if host.startswith("www.") else f"www.{host}"
                if other not in self.hosts:
                    server = self.hosts[other] = _Host()
                    options = replace(DEFAULTS, filters=(RedirectHost(host, draft.www_redirect),))
                    server.default = Location(key, other, "/", PathType.DEFAULT, None, "redirected", options)

    # TLS

    def _passthrough(self, key: Key, host: str) -> None:
        """Where a host's TLS goes: what `/` goes to, as in ingress-nginx; TLS has no paths."""
        server = self.hosts.get(host)
        locations = server.locations.values() if server is not None else ()
        for each in locations:
            if each.path == "/" and each.backend is not None:
                self.passthrough.setdefault(host, each.backend)
        for each in locations:
            if each.path != "/":
                why = f'path "{each.path}" of host "{host}" has no effect over TLS, which is passed through to "/"'
                self.problem(key, "PathIgnored", why)
        if host not in self.passthrough:
            self.problem(key, "InvalidAnnotation", f'ssl-passthrough needs a rule for path "/" of host "{host}"')

    def _tls(self, ingress: Object) -> None:
        for host, secret in tls_hosts(ingress):
            self.tls.setdefault(host, TLSHost(meta.key(ingress), host, secret))

    def _has_tls(self, host: str) -> bool:
        names = (host, "*" + host[host.index(".") :]) if "." in host else (host,)
        return any(name in self.tls or self.others(name) for name in names)

    # All of them

    def _finish(self) -> Rules:
        exact: dict[str, Paths] = {}
        wildcards: dict[str, Paths] = {}
        catch_all: Paths | None = None
        for host, server in self.hosts.items():
            locations: Iterable[Location] = server.locations.values()
            if server.regex:
                locations = [replace(each, pattern=self._pattern(each)) for each in locations]
            paths = Paths(locations, server.default, regex=server.regex)
            if not host:
                catch_all = paths
            elif host.startswith("*."):
                wildcards[host[1:]] = paths
            else:
                exact[host] = paths
        last = self.default or self.default_of_rules
        if last is None and (own := self.controller_backend) is not None:
            key = DEFAULT_BACKEND
            last = Location(key, "", "/", PathType.DEFAULT, self._use(key, own), options=self.defaults)
        return Rules(
            RoutingTable(exact, wildcards, catch_all, last, {}, tuple(self.unserved.values())),
            by_service(each for used in self.used.values() for each in used),
            self.tls,
            {key: tuple(each) for key, each in self.problems.items()},
            frozenset(meta.key(ingress) for ingress, _ in self.served),
            {reference: frozenset(of) for reference, of in self.references.items()},
            self.unserved,
            {key: tuple(each) for key, each in self.used.items()},
            self.passthrough,
        )

    def _pattern(self, location: Location) -> re.Pattern[str]:
        """Compile a path as nginx's `~* "^path"`; what isn't a regular expression is compared literally."""
        if location.pattern is not None or self.flavor.paths is not None:
            return location.pattern or as_regex(location.type, location.path)
        try:
            return re.compile(location.path, re.IGNORECASE)  # used with match(): anchored at the start
        except re.error as error:
            self.problem(location.ingress, "InvalidPath", f'path "{location.path}" is no regular expression: {error}')
            return re.compile(re.escape(location.path), re.IGNORECASE)


def by_service(used: Iterable[BackendKey]) -> dict[Key, tuple[BackendKey, ...]]:
    """Return backends by their Service."""
    found: dict[Key, dict[BackendKey, None]] = {}
    for each in used:
        found.setdefault(Key(each.namespace, each.service), {})[each] = None
    return {service: tuple(each) for service, each in found.items()}


def with_custom(rules: Rules, sources: Sources, defaults: Options, flavor: Flavor) -> Rules:
    """Return the rules with what the controller's custom resources route."""
    objects = frozenset(key for each in flavor.resources for key in sources.all(each))
    if not objects:
        return rules
    from minikube_py.ingress.resources.routes import Custom, RoutesTable

    custom = Custom(sources, defaults)
    if flavor.routes is not None:
        flavor.routes(custom)
    for resource in WITHOUT_EFFECT.intersection(flavor.resources):
        for key, obj in sources.all(resource).items():
            custom.problem(resource, key, f"{obj.get('kind')} is not emulated and has no effect")
    table: RoutingTable = rules.table
    if custom.routes:
        inherited = {each.name: getattr(rules.table, each.name) for each in fields(rules.table)}
        table = RoutesTable(**inherited, routes=custom.table(), ahead=custom.ahead)
    uses = {**rules.uses, **{key: (*rules.uses.get(key, ()), *found) for key, found in custom.used.items()}}
    asked = {host: TLSHost(owner, host, secret) for host, (owner, secret) in custom.certificates.items()}
    return replace(
        rules,
        table=table,
        keys=by_service(each for used in uses.values() for each in used),
        tls={**asked, **rules.tls},
        served=rules.served | objects,
        references={**dict.fromkeys(custom.references, objects), **rules.references},
        uses=uses,
        custom={where: tuple(messages) for where, messages in custom.problems.items()},
    )


def compile_rules(
    sources: Sources,
    *,
    controller: str = "k8s.io/ingress-nginx",
    defaults: Options = DEFAULTS,
    default_backend: BackendKey | None = None,
    flavor: Flavor = NGINX,
) -> Rules:
    """Merge the Ingresses that `controller` serves; `default_backend` is the controller's own."""
    rules = Compiler(sources, controller, defaults, default_backend, flavor).run()
    return with_custom(rules, sources, defaults, flavor)
