"""The routing table: hosts, path types, precedence, and the same answers as a naive scan."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.router import (
    BackendKey,
    Canary,
    Location,
    Match,
    NoMatch,
    Paths,
    PathType,
    RoutingTable,
    climbs,
    normalize_host,
    normalize_path,
)

E, P, S = PathType.EXACT, PathType.PREFIX, PathType.IMPLEMENTATION_SPECIFIC


def location(path: str, type_: PathType, host: str = "") -> Location:
    return Location(Key("default", "i"), host, path, type_, BackendKey("default", "s", "80"))


def found(rules: list[tuple[str, PathType]], path: str) -> tuple[str, PathType] | None:
    hit = Paths([location(*rule) for rule in rules]).find(normalize_path(path))
    return (hit.path, hit.type) if hit else None


@pytest.mark.parametrize(
    ("rules", "path", "winner"),
    [
        pytest.param([("/", P)], "/any/thing", ("/", P), id="/ takes everything"),
        pytest.param([("/foo", E)], "/foo", ("/foo", E), id="exact takes itself"),
        pytest.param([("/foo", E)], "/foo/", None, id="exact does not take a final slash"),
        pytest.param([("/foo/", E)], "/foo", None, id="exact with a slash needs it"),
        pytest.param([("/foo", P)], "/foo/", ("/foo", P), id="prefix takes a final slash"),
        pytest.param([("/foo/", P)], "/foo", ("/foo/", P), id="the prefix's final slash is ignored"),
        pytest.param([("/aaa/bb", P)], "/aaa/bbb", None, id="prefix compares whole elements"),
        pytest.param([("/aaa/bbb", P)], "/aaa/bbb/ccc", ("/aaa/bbb", P), id="prefix takes sub-paths"),
        pytest.param([("/", P), ("/aaa", P)], "/aaa/ccc", ("/aaa", P), id="the longest prefix wins"),
        pytest.param([("/foo", P), ("/foo", E)], "/foo", ("/foo", E), id="exact before prefix"),
        pytest.param([("/foo", P)], "/FOO", None, id="case counts"),
        pytest.param(
            [("/foo", S)], "/foobar", ("/foo", S), id="implementation specific is a string prefix, as in nginx"
        ),
        pytest.param([("/foo", P), ("/foo", S)], "/foo/x", ("/foo", P), id="prefix before implementation specific"),
        pytest.param([("/foo", P), ("/foo", S)], "/foox", ("/foo", S), id="... where it matches"),
        pytest.param([("/a/b", P), ("/a/b/c", S)], "/a/b/cd", ("/a/b/c", S), id="the longer string prefix wins"),
        pytest.param([("/admin", P)], "/x/../admin", ("/admin", P), id="dot segments are resolved first"),
        pytest.param([("/admin", P)], "/%61dmin", ("/admin", P), id="percent-encoding is decoded first"),
        pytest.param([("/a/b", P)], "//a///b", ("/a/b", P), id="slashes are merged"),
        pytest.param([("/a", P)], "/../../a", ("/a", P), id="nothing climbs above the root"),
    ],
)
def test_path_rules(rules: list[tuple[str, PathType]], path: str, winner: tuple[str, PathType] | None) -> None:
    """The path types of the Ingress API and their precedence hold."""
    assert found(rules, path) == winner


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/../a", True),
        ("/a/../../b", True),
        ("//..", True),
        ("/%2e%2E/a", True),
        ("/..%2fa", True),
        ("/", False),
        ("/a/..", False),
        ("/a/b/../..", False),
        ("/...", False),
        ("/a..b/%20", False),
        ("/%2e/a", False),
    ],
)
def test_paths_above_the_root_are_seen(path: str, above: bool) -> None:
    """nginx answers 400 to a path that climbs above the root, encoded or not; what ends at the root is fine."""
    assert climbs(path) is above


PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))
RULES = st.lists(st.tuples(PATHS, st.sampled_from([E, P, S])), max_size=12, unique=True)


def naive(rules: list[tuple[str, PathType]], path: str) -> set[tuple[str, PathType]]:
    """Try every rule and rank the matches: the obvious version. Equal ranks (`/a`, `/a/`) are all right."""
    ranked: list[tuple[int, int, tuple[str, PathType]]] = []
    for rule, type_ in rules:
        wanted, given_ = [p for p in rule.split("/") if p], [p for p in path.split("/") if p]
        if type_ is E and path == rule:
            return {(rule, type_)}
        if type_ is P and given_[: len(wanted)] == wanted:
            ranked.append((len(wanted), 1, (rule, type_)))
        if type_ is S and path.startswith(rule):
            ranked.append((len(rule), 0, (rule, type_)))
    prefixes = [each for each in ranked if each[1]]
    strings = [each for each in ranked if not each[1]]
    best_prefix = {each[2] for each in prefixes if each[0] == max(prefixes)[0]} if prefixes else set()
    best_string = max(strings) if strings else None
    # a string prefix wins over the longest prefix only by being longer as written
    kept = next((rule for rule in rules if rule in best_prefix), None)
    if best_string and (kept is None or best_string[0] > len(kept[0])):
        return {best_string[2]}
    return best_prefix


@settings(max_examples=400, deadline=None)
@given(RULES, PATHS)
def test_agrees_with_a_naive_scan(rules: list[tuple[str, PathType]], path: str) -> None:
    """For any rules and path the dictionaries find what trying every rule finds."""
    path = normalize_path(path)
    rules = [(normalize_path(rule), type_) for rule, type_ in rules]
    expected = naive(rules, path)
    hit = found(rules, path)
    assert hit in expected if expected else hit is None


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="/.%2eEfFab\\", max_size=30).map(lambda text: "/" + text))
def test_normalized_paths_have_no_way_up(path: str) -> None:
    """Whatever is sent, the compared path starts at the root, has no dot segment and no empty element."""
    plain = normalize_path(path)
    assert plain.startswith("/")
    assert "//" not in plain
    assert not {".", ".."} & set(plain.split("/"))


def table(hosts: list[str], default: Location | None = None) -> RoutingTable:
    exact = {h: Paths([location("/", P, h)]) for h in hosts if h and not h.startswith("*")}
    wild = {h[1:]: Paths([location("/", P, h)]) for h in hosts if h.startswith("*")}
    return RoutingTable(exact, wild, Paths([location("/", P)]) if "" in hosts else None, default)


@pytest.mark.parametrize(
    ("hosts", "host", "winner"),
    [
        pytest.param(["bar.foo.com", "*.foo.com", ""], "bar.foo.com", "bar.foo.com", id="exact before wildcard"),
        pytest.param(["*.foo.com", ""], "bar.foo.com", "*.foo.com", id="wildcard before no host"),
        pytest.param(["*.foo.com"], "baz.bar.foo.com", None, id="a wildcard covers one label only"),
        pytest.param(["*.foo.com"], "foo.com", None, id="a wildcard covers one label at least"),
        pytest.param([""], "anything", "", id="no host takes every host"),
        pytest.param(["foo.com"], "FOO.com:8080", "foo.com", id="port and case don't count"),
        pytest.param(["foo.com"], "foo.com.", "foo.com", id="a final dot does not count"),
        pytest.param(["foo.com"], "", None, id="a missing host matches no name"),
    ],
)
def test_hosts(hosts: list[str], host: str, winner: str | None) -> None:
    """Host rules: exact, then one-label wildcard, then no host."""
    routed = table(hosts).route(host, "/")
    assert (routed.location.host if isinstance(routed, Match) else None) == winner


def test_no_match_explains_itself() -> None:
    """A 404 names what was asked for and what there is."""
    routed = table(["coffee.com", "*.tea.com"]).route("mocha.com", "/menu")
    assert isinstance(routed, NoMatch)
    assert routed.reason == ("no Ingress rule for host mocha.com path /menu; known hosts: coffee.com, *.tea.com")


def test_a_host_owns_its_requests() -> None:
    """A path that no rule of the exact host matches goes to the default backend, not to a wildcard's rules."""
    default = location("/", PathType.DEFAULT)
    routes = RoutingTable(
        {"a.foo.com": Paths([location("/x", P)])}, {".foo.com": Paths([location("/", P)])}, None, default
    )
    routed = routes.route("a.foo.com", "/y")
    assert isinstance(routed, Match)
    assert routed.location is default


def test_regular_expressions_are_tried_longest_first() -> None:
    """On a host with regular expressions the longest path wins, case-insensitively, anchored at the start."""
    locations = [
        Location(Key("d", "i"), "h", text, S, None, pattern=re.compile(text, re.IGNORECASE))
        for text in ("/foo", "/foo/bar/.+")
    ]
    paths = Paths(locations, regex=True)
    assert paths.find("/FOO/BAR/baz") is locations[1]
    assert paths.find("/foo/x") is locations[0]
    assert paths.find("/x/foo") is None


@pytest.mark.parametrize(
    ("canary", "headers", "chance", "takes"),
    [
        pytest.param({"header": "X-C"}, {"X-C": "always"}, 0.5, True, id="header always"),
        pytest.param({"header": "X-C", "weight": 100}, {"X-C": "never"}, 0.5, False, id="header never beats weight"),
        pytest.param({"header": "X-C"}, {"X-C": "other"}, 0.5, False, id="another value goes on to the weight of 0"),
        pytest.param({"header": "X-C", "header_value": "de"}, {"X-C": "de"}, 0.5, True, id="header value"),
        pytest.param({"header": "X-C", "header_value": "de"}, {"X-C": "always"}, 0.5, False, id="only that value"),
        pytest.param(
            {"header": "X-C", "header_pattern": re.compile("d.")}, {"X-C": "de"}, 0.5, True, id="header pattern"
        ),
        pytest.param({"cookie": "c"}, {"Cookie": "a=b; c=always"}, 0.5, True, id="cookie always"),
        pytest.param({"cookie": "c", "weight": 100}, {"Cookie": "c=never"}, 0.5, False, id="cookie never"),
        pytest.param({"weight": 30}, {}, 0.29, True, id="below the weight"),
        pytest.param({"weight": 30}, {}, 0.30, False, id="at the weight"),
        pytest.param({"weight": 1, "weight_total": 2}, {}, 0.49, True, id="weight total"),
    ],
)
def test_canaries(canary: dict[str, object], headers: dict[str, str], chance: float, takes: bool) -> None:
    """A canary takes a request by header, then cookie, then weight."""
    made = Canary(Key("d", "c"), BackendKey("d", "s", "80"), **canary)  # type: ignore[arg-type]
    assert made.takes(headers, chance) is takes


@pytest.mark.parametrize(
    ("text", "plain"), [("A.com:80", "a.com"), ("[::1]:80", "[::1]"), ("a.com.", "a.com"), ("", "")]
)
def test_normalize_host(text: str, plain: str) -> None:
    """A Host header becomes the name that rules use."""
    assert normalize_host(text) == plain
