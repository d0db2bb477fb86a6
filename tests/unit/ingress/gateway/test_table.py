"""Which rule answers: precedence, hostnames, isolation of listeners, shares."""

import re
from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.gateway.table import HostRules, Rule
from minikube_py.ingress.router import Location, NoMatch, PathType

from .support import HTTP, Object, backend, compiled, gateway, prefix, route, routed, rule

PRECEDENCE = compiled(
    gateway(),
    route(
        rule("a", prefix("/")),
        rule("b", prefix("/menu"), {"path": {"type": "Exact", "value": "/x"}}),
        rule("c", prefix("/menu", method="POST"), prefix("/", queryParams=[{"name": "v", "value": "2"}])),
        rule("d", prefix("/menu", headers=[{"name": "who", "value": "b.*", "type": "RegularExpression"}])),
        rule("c", {"path": {"type": "RegularExpression", "value": "/menu/[0-9]+"}}),
    ),
)


@pytest.mark.parametrize(
    ("path", "how", "wanted"),
    [
        pytest.param("/menus", {}, "a", id="a prefix ends at an element"),
        pytest.param("/menu", {}, "b", id="the prefix itself"),
        pytest.param("/menu/", {}, "b", id="the prefix with a slash"),
        pytest.param("/menu/tea/green", {}, "b", id="the longest prefix"),
        pytest.param("/x", {}, "b", id="exact before prefix"),
        pytest.param("/x/", {}, "a", id="exact is exact"),
        pytest.param("/menu/7", {}, "c", id="a pattern before a prefix"),
        pytest.param("/menu/7a", {}, "b", id="a pattern matches the whole path"),
        pytest.param("/menu", {"method": "POST"}, "c", id="a method before none"),
        pytest.param("/menu", {"headers": {"who": "bob"}}, "d", id="a header before none"),
        pytest.param("/menu", {"headers": {"who": "bob"}, "method": "POST"}, "c", id="a method before a header"),
        pytest.param("/menu", {"headers": {"who": "rob"}}, "b", id="a header's pattern matches the whole value"),
        pytest.param("/q", {"query": "v=2&v=3"}, "c", id="the first of a repeated parameter"),
        pytest.param("/q", {"query": "v=3&v=2"}, "a", id="not the second"),
        pytest.param("/q", {"query": "V=2"}, "a", id="parameters' names have a case"),
        pytest.param("/m%65nu//tea/../7", {}, "c", id="the path is normalized first"),
    ],
)
def test_the_more_specific_match_wins(path: str, how: dict[str, Any], wanted: str) -> None:
    """Exact, pattern, longest prefix by elements; then method, headers, query."""
    assert backend(PRECEDENCE, "any.test", path, **how) == wanted


def test_ties_go_to_the_older_route_then_by_name_then_by_place() -> None:
    """The API's last three criteria."""
    same = [rule("a"), rule("b")]
    assert backend(compiled(gateway(), route(*same, age=2), route(rule("c"), name="z", age=1)), "h", "/") == "c"
    assert backend(compiled(gateway(), route(*same), route(rule("c"), name="q")), "h", "/") == "c"
    assert backend(compiled(gateway(), route(*same)), "h", "/") == "a"


def listener(hostname: str, port: int = 80) -> Object:
    found = {**HTTP, "name": f"l{len(hostname)}-{port}", "port": port}
    return {**found, "hostname": hostname} if hostname else found


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("bar.com", "a"),
        ("bar.example.com", "b"),
        ("bar.foo.example.com", "c"),
        ("x.y.foo.example.com", "c"),
        ("ABC.foo.example.com:8080", "d"),
        ("example.com", "a"),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["hostnames of listeners", "hostnames of routes, too"])
def test_a_request_belongs_to_one_listener(host: str, wanted: str, own: bool) -> None:
    """The one with the most specific hostname; what another listener has for that path is not its answer."""
    hostnames = {"a": "", "b": "*.example.com", "c": "*.foo.example.com", "d": "abc.foo.example.com"}
    found = compiled(
        gateway(*map(listener, hostnames.values())),
        *(
            route(
                rule(name, prefix(f"/{name}")),
                name=name,
                parentRefs=[{"name": "door", "sectionName": listener(hostname)["name"]}],
                **({"hostnames": [hostname]} if own and hostname else {}),
            )
            for name, hostname in hostnames.items()
        ),
    )
    served = {name: backend(found, host, f"/{name}") for name in hostnames}
    assert served == {name: name if name == wanted else None for name in hostnames}


def test_ports_are_apart() -> None:
    """A route of one port doesn't answer on another; the reason names the hosts of the port."""
    found = compiled(
        gateway(listener("a.test"), listener("b.test", 8080)),
        route(rule("a"), parentRefs=[{"name": "door", "port": 8080}]),
    )
    assert backend(found, "b.test", "/", 8080) == "a"
    missed = routed(found, "b.test", "/")
    assert isinstance(missed, NoMatch)
    assert missed.reason == "GET b.test/: no listener of port 80 has this host; theirs: a.test"


def test_weights_share_requests() -> None:
    """3 to 1, exactly, over evenly spread chance; weight 0 gets nothing."""
    refs = [{"name": "a", "port": 80, "weight": 3}, {"name": "b", "port": 80}, {"name": "c", "port": 80, "weight": 0}]
    found = compiled(gateway(), route({"backendRefs": refs}))
    counted = Counter(backend(found, "h", "/", chance=number / 100) for number in range(100))
    assert counted == {"a": 75, "b": 25}


KINDS = {
    "Exact": PathType.EXACT,
    "RegularExpression": PathType.IMPLEMENTATION_SPECIFIC,
    "PathPrefix": PathType.PREFIX,
}
ELEMENT = st.sampled_from(["", "a", "b", "ab"])
PATHS = st.lists(ELEMENT, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(
    st.lists(st.tuples(PATHS, st.sampled_from(list(KINDS)), st.booleans()), max_size=8),
    PATHS,
    st.booleans(),
)
def test_looking_up_finds_what_trying_each_rule_finds(
    specs: list[tuple[str, str, bool]], path: str, post: bool
) -> None:
    """The index by path and a naive scan in order of precedence agree."""
    number = count()
    rules = []
    for text, kind, method in specs:
        pattern = re.compile(text) if kind == "RegularExpression" else None
        location = Location(Key("d", "r"), "", text, KINDS[kind], None, pattern=pattern)
        length = len(text.rstrip("/") if kind == "PathPrefix" else text)
        order = (list(KINDS).index(kind), -length, not method, next(number))
        rules.append(Rule(location, order, method="POST" if method else ""))

    def naive(each: Rule) -> bool:
        at = each.location
        if at.pattern is not None:
            fits = at.pattern.fullmatch(path) is not None
        elif at.type is PathType.EXACT:
            fits = path == at.path
        else:
            fits = (path + "/").startswith(at.path.rstrip("/") + "/")
        return fits and each.method in ("", "POST" if post else "GET")

    wanted = next(filter(naive, sorted(rules, key=lambda each: each.order)), None)
    assert HostRules(rules).find(path, "POST" if post else "GET", {}, {}) is wanted
