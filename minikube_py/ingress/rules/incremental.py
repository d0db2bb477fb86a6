"""Rules that follow their Ingresses: a change costs the Ingresses that share a host with it, not all of them.

    an Ingress changes ─► who has a say in the same names, before or now, and in the names of these, …
                       ─► compiled as if there were no others ─► in place of what they said before

**The law**: what an Ingress comes to depends only on the Ingresses with a say in the same names (`say`). Whatever makes
one Ingress look at another has its name there; a test holds any sequence of changes to compiling all anew. What
concerns all of them (a class, a custom resource) compiles all of them.
Left out: custom resources are compiled anew after each change; hosts that share a TLS section of a wildcard are one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import NamedTuple, TypeVar

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Change, Event
from minikube_py.ingress.annotations import PREFIX
from minikube_py.ingress.flavors.flavor import Flavor
from minikube_py.ingress.flavors.nginx import FLAVOR as NGINX
from minikube_py.ingress.options import DEFAULTS, Options
from minikube_py.ingress.router import BackendKey, RoutingTable
from minikube_py.ingress.rules.compile import DEFAULT_BACKEND, Compiler, by_service, tls_hosts, with_custom
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import CONFIG_MAPS, INGRESSES, SECRETS, SERVICES, SLICES, Sources

__all__ = ["Incremental", "Say", "say"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_DEFAULT = "default"
"""The name of what unknown hosts get; all others begin with `host/` or `tls/`."""
_ALIASES = (f"{PREFIX}server-alias", "konghq.com/host-aliases")
"""Annotations that give a host's rules to further hosts."""
_REDIRECT = f"{PREFIX}from-to-www-redirect"
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)


class Say(NamedTuple):
    """The names in which an Ingress has a say, and those whose meaning for others it looks at."""

    writes: frozenset[str]
    reads: frozenset[str]


_NOTHING = Say(frozenset(), frozenset())


def say(ingress: Object) -> Say:
    """Return the names of an Ingress; of a malformed one those as far as it can be read."""
    hosts: set[str] = set()
    writes: set[str] = set()
    with suppress(*_MALFORMED):
        for rule in meta.spec(ingress).get("rules") or ():
            hosts.add((rule.get("host") or "").lower())
    with suppress(*_MALFORMED):
        for host, _ in tls_hosts(ingress):
            writes.add(f"tls/{host}")
    with suppress(*_MALFORMED):
        if meta.spec(ingress).get("defaultBackend"):
            writes.add(_DEFAULT)
    writes.update(f"host/{host}" for host in chain(hosts, _further_hosts(ingress, hosts)))
    reads = {f"tls/{host}" for host in hosts} | {f"tls/*.{host.partition('.')[2]}" for host in hosts}
    return Say(frozenset(writes), frozenset(reads))


def _further_hosts(ingress: Object, hosts: Iterable[str]) -> Iterator[str]:
    annotations = meta.annotations(ingress)
    for name in _ALIASES:
        yield from (each.strip().lower() for each in str(annotations.get(name, "")).split(",") if each.strip())
    if _REDIRECT in annotations:
        for host in hosts:
            yield host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"


class Incremental:
    """The rules of one controller, kept up with `sources`.

    Tell each event with `changed`, after `sources` has it; `rules()` are then those of this moment.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        controller: str,
        defaults: Options = DEFAULTS,
        default_backend: BackendKey | None = None,
        flavor: Flavor = NGINX,
    ) -> None:
        self._sources = sources
        self._controller = controller
        self._defaults = defaults
        self._default_backend = default_backend
        self._flavor = flavor
        self._ingresses = Rules(RoutingTable())
        """What the Ingresses say, without custom resources."""
        self._rules = self._ingresses
        self._said: dict[Key, Say] = {}
        self._sayers: dict[str, set[Key]] = {}
        """Name → who writes or reads it."""
        self._users: Counter[BackendKey] = Counter()
        self._changed: set[Key] = set()
        """The Ingresses to compile: with each name that one of them writes, all who write or read it."""
        self._names: set[str] = set()
        """What they write, and have written."""
        self._all = True
        """All must be compiled."""
        self.stale = True
        """`rules()` has something to do."""

    @property
    def known(self) -> Rules:
        """The rules as they were last compiled."""
        return self._rules

    def changed(self, event: Event) -> Collection[Key]:
        """Take note of an event; return the Ingresses for which it may change the rules."""
        match event.resource:
            case resource if resource == INGRESSES:
                gone = event.change is Change.DELETED
                if not gone and event.old is not None and _meaning(event.old) == _meaning(event.object):
                    return ()  # a controller's own status
                found = self._affected(event.key, _NOTHING if gone else say(event.object))
            case resource if resource in (SECRETS, CONFIG_MAPS):
                owners = self._rules.references.get((event.resource, event.key))
                if owners is None:
                    return ()
                known = self._ingresses.references.get((event.resource, event.key), ())
                found = {each for key in known for each in self._affected(key, self._said.get(key, _NOTHING))}
            case resource if resource in (SERVICES, SLICES):
                return ()
            case _:
                self._all = True
                found = set(self._sources.all(INGRESSES))
        self.stale = True
        return found

    def _affected(self, key: Key, now: Say) -> set[Key]:
        """Note what an Ingress says now; return it with those that must be compiled with it, unless they are noted."""
        if self._all:
            return {key}
        before = self._said.get(key, _NOTHING)
        self._forget(key, before)
        self._remember(key, now)
        self._changed.add(key)
        found = {key}
        names = list((before.writes | now.writes) - self._names)
        self._names.update(names)
        while names:
            for each in self._sayers.get(names.pop(), set()) - self._changed:
                self._changed.add(each)
                found.add(each)
                more = self._said[each].writes - self._names
                self._names |= more
                names += more
        return found

    def _forget(self, key: Key, said: Say) -> None:
        self._said.pop(key, None)
        for name in said.writes | said.reads:
            sayers = self._sayers[name]
            sayers.discard(key)
            if not sayers:
                del self._sayers[name]

    def _remember(self, key: Key, said: Say) -> None:
        if said is not _NOTHING:
            self._said[key] = said
        for name in said.writes | said.reads:
            self._sayers.setdefault(name, set()).add(key)

    def rules(self) -> Rules:
        """Return the rules of this moment."""
        if not self.stale:
            return self._rules
        if self._all:
            self._compile_all()
        elif self._changed:
            self._replace(self._compiled(self._sources.only(INGRESSES, self._changed), self._others))
        self._changed, self._names = set(), set()
        self._all = self.stale = False
        self._rules = with_custom(self._ingresses, self._sources, self._defaults, self._flavor)
        return self._rules

    def _compiled(self, sources: Sources, others: Callable[[str], bool]) -> Rules:
        settings = self._controller, self._defaults, self._default_backend, self._flavor
        return Compiler(sources, *settings, others=others).run()

    def _others(self, host: str) -> bool:
        """Tell whether an Ingress that isn't compiled now has a TLS section for a host."""
        found = self._ingresses.tls.get(host)
        return found is not None and found.ingress not in self._changed

    def _compile_all(self) -> None:
        self._ingresses = self._compiled(self._sources, lambda host: False)
        self._users = Counter(chain.from_iterable(self._ingresses.uses.values()))
        self._said, self._sayers = {}, {}
        for key, ingress in self._sources.all(INGRESSES).items():
            self._remember(key, say(ingress))

    def _replace(self, new: Rules) -> None:
        """Put what the changed Ingresses say in place of what they said before."""
        old, names, keys = self._ingresses, self._names, set(self._changed)
        hosts = {name[5:] for name in names if name.startswith("host/")}
        if _DEFAULT in names:
            keys.add(DEFAULT_BACKEND)
        uses = {key: used for key, used in new.uses.items() if key in keys}
        before = [each for key in keys for each in old.uses.get(key, ())]
        after = [each for used in uses.values() for each in used]
        self._users.subtract(before)
        self._users.update(after)
        services = by_service(chain(before, after)).keys()
        needed = by_service(
            each for each in chain(after, *(old.keys.get(service, ()) for service in services)) if self._users[each]
        )
        for each in before:
            if not self._users[each]:
                del self._users[each]
        unserved = _with(old.unserved, keys, new.unserved)
        self._ingresses = Rules(
            RoutingTable(
                _with(old.table.hosts, hosts, new.table.hosts),
                _with(old.table.wildcards, (host[1:] for host in hosts if host.startswith("*.")), new.table.wildcards),
                new.table.catch_all if "" in hosts else old.table.catch_all,
                new.table.default if _DEFAULT in names else old.table.default,
                {},
                tuple(unserved.values()),
            ),
            _with(old.keys, services, needed),
            _with(old.tls, (name[4:] for name in names if name.startswith("tls/")), new.tls),
            _with(old.problems, keys, new.problems),
            (old.served - keys) | new.served,
            _merged(old.references, keys, new.references),
            unserved,
            _with(old.uses, keys, uses),
            _with(old.passthrough, hosts, new.passthrough),
        )


def _with(old: Mapping[_K, _V], without: Iterable[_K], new: Mapping[_K, _V]) -> dict[_K, _V]:
    """Return `old` without some keys, and with what is `new`."""
    found = dict(old)
    for key in without:
        found.pop(key, None)
    found.update(new)
    return found


def _merged(
    old: Mapping[tuple[str, Key], frozenset[Key]], keys: set[Key], new: Mapping[tuple[str, Key], frozenset[Key]]
) -> dict[tuple[str, Key], frozenset[Key]]:
    """Return who refers to what, once `keys` refer to what is `new`."""
    found = {what: of - keys for what, of in old.items()}
    for what, of in new.items():
        found[what] = found.get(what, frozenset()) | of
    return {what: of for what, of in found.items() if of}


def _meaning(ingress: Object) -> tuple[object, ...]:
    """Return what rules are made of."""
    return meta.spec(ingress), meta.annotations(ingress), meta.terminating(ingress)
