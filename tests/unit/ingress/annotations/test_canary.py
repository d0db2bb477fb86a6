"""canary and its family: header before cookie before weight."""

import pytest
from multidict import CIMultiDict

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.rules.compile import compile_rules

from ..support import World, draft, ingress, named, path, sources


@pytest.mark.parametrize(
    ("annotations", "headers", "chance", "taken"),
    [
        pytest.param({"canary_by_header": "X-New"}, {"X-New": "always"}, 0.9, True, id="header: always"),
        pytest.param({"canary_by_header": "X-New"}, {"x-new": "always"}, 0.9, True, id="header names have no case"),
        pytest.param({"canary_by_header": "X-New", "canary_weight": "100"}, {"X-New": "never"}, 0, False, id="never"),
        pytest.param({"canary_by_header": "X-New", "canary_weight": "50"}, {"X-New": "x"}, 0.4, True, id="then weight"),
        pytest.param(
            {"canary_by_header": "X-New", "canary_by_header_value": "eu"}, {"X-New": "eu"}, 0.9, True, id="value"
        ),
        pytest.param(
            {"canary_by_header": "X-New", "canary_by_header_value": "eu"}, {"X-New": "always"}, 0.9, False, id="only it"
        ),
        pytest.param(
            {"canary_by_header": "X-New", "canary_by_header_pattern": "^e[uf]$"},
            {"X-New": "ef"},
            0.9,
            True,
            id="pattern",
        ),
        pytest.param(
            {"canary_by_header": "X-New", "canary_by_header_pattern": "^e", "canary_by_header_value": "us"},
            {"X-New": "eu"},
            0.9,
            False,
            id="a value before a pattern",
        ),
        pytest.param(
            {"canary_by_header": "X-New", "canary_by_header_pattern": "("},
            {"X-New": "always"},
            0.9,
            False,
            id="a bad pattern matches nothing",
        ),
        pytest.param({"canary_by_cookie": "new"}, {"Cookie": "a=b; new=always"}, 0.9, True, id="cookie"),
        pytest.param(
            {"canary_by_cookie": "new", "canary_by_header": "X-New"},
            {"Cookie": "new=always", "X-New": "never"},
            0.9,
            False,
            id="header before cookie",
        ),
        pytest.param(
            {"canary_by_cookie": "new", "canary_weight": "100"}, {"Cookie": "new=never"}, 0, False, id="cookie: never"
        ),
        pytest.param({"canary_weight": "30"}, {}, 0.299, True, id="weight: in"),
        pytest.param({"canary_weight": "30"}, {}, 0.3, False, id="weight: out"),
        pytest.param({"canary_weight": "0"}, {}, 0.0, False, id="no weight"),
        pytest.param({"canary_weight": "30", "canary_weight_total": "1000"}, {}, 0.031, False, id="of a larger total"),
        pytest.param(
            {"canary_weight": "30", "canary_weight_total": "60"}, {}, 0.4, False, id="a total is at least 100"
        ),
    ],
)
def test_who_takes_a_request(annotations: dict[str, str], headers: dict[str, str], chance: float, taken: bool) -> None:
    """The first rule that has an opinion decides."""
    canary = draft(canary="true", **annotations).canary
    assert canary is not None
    assert canary.takes(CIMultiDict(headers), chance) is taken


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """The canary takes what its header says; the main backend keeps the rest."""
    running.serve("web", await running.pod(named("main")))
    running.serve("new", await running.pod(named("canary")), canary="true", canary_by_header="X-Canary")
    answers = [(await running.get(X_Canary=value))[2] for value in ("always", "never", "x")]
    assert answers == [b"canary", b"main", b"main"]


def test_a_canary_alone_serves_nothing() -> None:
    """And says so."""
    made = ingress("c", {"a.test": [path("web")]}, annotations={"canary": "true"})
    rules = compile_rules(sources(made))
    assert [each.reason for each in rules.problems[Key("default", "c")]] == ["CanaryWithoutMain"]
    assert not rules.table.hosts


def test_there_is_one_canary_for_a_rule() -> None:
    """A second one draws a warning."""
    made = [ingress(f"c{age}", {"a.test": [path("n")]}, annotations={"canary": "true"}, age=age) for age in (1, 2)]
    rules = compile_rules(sources(ingress("main", {"a.test": [path("web")]}), *made))
    assert [each.reason for each in rules.problems[Key("default", "c2")]] == ["Conflict"]
