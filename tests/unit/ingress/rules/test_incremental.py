"""Rules that follow their Ingresses are those that compiling all anew gives."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Change, Event
from minikube_py.ingress.router import BackendKey, Paths
from minikube_py.ingress.rules import sources as resources
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.incremental import Incremental
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import Sources

from ..support import config_map, ingress, ingress_class, path

CONTROLLER = "k8s.io/ingress-nginx"
OWN = BackendKey("kube-system", "default", "")


def locations(paths: Paths | None) -> Any:
    """Return all that a host's paths decide by, without its order."""
    if paths is None:
        return None
    return sorted(map(repr, paths.locations)), repr(paths.find("/no/such/path"))


def meaning(rules: Rules) -> Mapping[str, Any]:
    """Return all that rules say, so that it can be compared."""
    table = rules.table
    return {
        "hosts": {host: locations(each) for host, each in table.hosts.items()},
        "wildcards": {host: locations(each) for host, each in table.wildcards.items()},
        "catch-all": locations(table.catch_all),
        "default": repr(table.default),
        "unserved": set(table.unserved),
        "keys": {service: set(each) for service, each in rules.keys.items()},
        "uses": {key: set(each) for key, each in rules.uses.items()},
        "tls": dict(rules.tls),
        "problems": dict(rules.problems),
        "served": rules.served,
        "references": dict(rules.references),
        "passthrough": dict(rules.passthrough),
    }


class World:
    """Changes for both: an `Incremental`, and the objects from which all is compiled anew."""

    def __init__(self) -> None:
        self.sources = Sources()
        self.incremental = Incremental(self.sources, controller=CONTROLLER, default_backend=OWN)
        self.concerned: set[Key] = set()
        self.put(resources.INGRESS_CLASSES, ingress_class())

    def put(self, resource: str, obj: Object) -> None:
        old = self.sources.get(resource, meta.key(obj))
        self._tell(Event(Change.MODIFIED if old else Change.ADDED, resource, obj, old, 1))

    def delete(self, resource: str, key: Key) -> None:
        if (old := self.sources.get(resource, key)) is not None:
            self._tell(Event(Change.DELETED, resource, old, old, 1))

    def _tell(self, event: Event) -> None:
        self.sources.apply(event)
        self.concerned.update(self.incremental.changed(event))

    def agree(self) -> None:
        """Compare the two; what differs from before must have been foretold."""
        before = self.incremental.known
        now = self.incremental.rules()
        assert meaning(now) == meaning(compile_rules(self.sources, controller=CONTROLLER, default_backend=OWN))
        for what in ("problems", "uses"):
            then, since = getattr(before, what), getattr(now, what)
            differing = {key for key in {*then, *since} if then.get(key) != since.get(key)}
            assert differing - {Key("", "(default backend)")} <= self.concerned
        self.concerned.clear()


HOSTS = st.sampled_from(["", "a.test", "a.test", "b.test", "www.a.test", "*.test"])
PATHS = st.builds(
    path,
    st.sampled_from(["one", "two"]),
    st.sampled_from(["/", "/x", "/x/", "/(", "/y"]),
    st.sampled_from(["Prefix", "Exact", "ImplementationSpecific"]),
)
ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        "server-alias": st.sampled_from(["b.test", "c.test, A.test"]),
        "from-to-www-redirect": st.just("true"),
        "use-regex": st.just("true"),
        "canary": st.sampled_from(["true", "false", "false"]),
        "ssl-passthrough": st.just("true"),
        "service-upstream": st.just("true"),
        "default-backend": st.just("spare"),
        "custom-headers": st.sampled_from(["default/headers", "default/none"]),
        "force-ssl-redirect": st.sampled_from(["true", "perhaps"]),
        "unknown": st.just("x"),
    },
)
TLS = st.lists(
    st.fixed_dictionaries({"secretName": st.sampled_from(["s", "t"])}, optional={"hosts": st.lists(HOSTS, max_size=2)}),
    max_size=2,
)
NAMES = st.sampled_from("pqrst")
INGRESSES = st.builds(
    ingress,
    NAMES,
    st.none() | st.dictionaries(HOSTS, st.lists(PATHS, max_size=3), max_size=2),
    annotations=ANNOTATIONS,
    tls=TLS,
    default=st.sampled_from(["", "", "one", "rest"]),
    age=st.integers(0, 3),
    class_name=st.sampled_from(["nginx", "nginx", "nginx", "other", None]),
)
CHANGES = st.one_of(
    INGRESSES.map(lambda made: ("ingress", made)),
    INGRESSES.map(lambda made: ("ingress", made)),
    NAMES.map(lambda name: ("gone", name)),
    st.booleans().map(lambda there: ("headers", there)),
    st.booleans().map(lambda default: ("class", default)),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.booleans()), min_size=3, max_size=10))
def test_following_is_compiling_anew(changes: list[tuple[tuple[str, Any], bool]]) -> None:
    """After any sequence of changes, looked at now and then, both say the same; whoever is concerned was named."""
    world = World()
    for (what, value), look in changes:
        match what:
            case "ingress":
                world.put(resources.INGRESSES, value)
            case "gone":
                world.delete(resources.INGRESSES, Key("default", value))
            case "headers" if value:
                world.put(resources.CONFIG_MAPS, config_map("headers", X_A="b"))
            case "headers":
                world.delete(resources.CONFIG_MAPS, Key("default", "headers"))
            case _:
                world.put(resources.INGRESS_CLASSES, ingress_class(default=value))
        if look:
            world.agree()
    world.agree()


def test_a_change_compiles_those_who_share_its_hosts() -> None:
    """Others keep the very same paths, and nobody else is concerned."""
    world = World()
    for name, host in (("one", "a.test"), ("two", "a.test"), ("three", "b.test")):
        world.put(resources.INGRESSES, ingress(name, {host: [path(name, f"/{name}")]}))
    before = world.incremental.rules().table
    world.concerned.clear()
    world.put(resources.INGRESSES, ingress("one", {"a.test": [path("one", "/other")]}))
    after = world.incremental.rules().table
    assert after.hosts["b.test"] is before.hosts["b.test"]
    assert after.hosts["a.test"] is not before.hosts["a.test"]
    assert world.concerned == {Key("default", "one"), Key("default", "two")}


def test_a_status_write_changes_nothing() -> None:
    """What the controller itself writes makes nothing stale."""
    world = World()
    made = ingress("one", {"a.test": [path("one")]})
    world.put(resources.INGRESSES, made)
    rules = world.incremental.rules()
    world.put(resources.INGRESSES, {**made, "status": {"loadBalancer": {"ingress": [{"ip": "127.200.0.1"}]}}})
    assert not world.incremental.stale
    assert world.incremental.rules() is rules
