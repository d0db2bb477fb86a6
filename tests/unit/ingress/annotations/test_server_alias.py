"""server-alias."""

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.router import Match
from minikube_py.ingress.rules.compile import compile_rules

from ..support import draft, ingress, path, sources


def test_aliases_have_the_hosts_rules() -> None:
    """Names and wildcards; a host with rules of its own keeps them, and a warning says so."""
    rules = compile_rules(
        sources(
            ingress("i", {"a.test": [path("web", "/x")]}, annotations={"server-alias": "B.test, *.c.test,own.test"}),
            ingress("o", {"own.test": [path("web", "/y")]}, age=9),
        )
    )
    assert [isinstance(rules.table.route(host, "/x"), Match) for host in ("b.test", "w.c.test", "own.test")] == [
        True,
        True,
        False,
    ]
    assert [each.reason for each in rules.problems[Key("default", "i")]] == ["Conflict"]


def test_no_regular_expressions() -> None:
    """A problem."""
    assert draft(server_alias="~^x").problems
