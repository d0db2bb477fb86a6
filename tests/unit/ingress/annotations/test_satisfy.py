"""satisfy: any of the ways in, or all of them."""

import base64

import pytest

from minikube_py.ingress.options import Answer, Subrequest

from ..support import asked, call, draft, secret

ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:pw").decode()}
USERS = secret("users", auth="ann:{PLAIN}pw\n")


@pytest.mark.parametrize(
    ("satisfy", "remote", "headers", "expected"),
    [
        pytest.param("all", "10.0.0.1", {}, 401, id="all: the address alone is not enough"),
        pytest.param("all", "192.0.2.1", ANN, 403, id="all: the password alone is not enough"),
        pytest.param("all", "10.0.0.1", ANN, None, id="all: both"),
        pytest.param("any", "10.0.0.1", {}, None, id="any: the address"),
        pytest.param("any", "192.0.2.1", ANN, None, id="any: the password"),
        pytest.param("any", "192.0.2.1", {}, 401, id="any: neither, and a password would help"),
    ],
)
def test_ways_in(satisfy: str, remote: str, headers: dict[str, str], expected: int | None) -> None:
    """Source range and basic auth."""
    made = draft(
        satisfy=satisfy, whitelist_source_range="10.0.0.0/8", auth_type="basic", auth_secret="users", extra=[USERS]
    )
    outcome = asked(made, call(remote=remote, headers=headers))
    assert (outcome.status if isinstance(outcome, Answer) else outcome) == expected


def test_a_judge_is_asked_last() -> None:
    """auth-url is asked where the address did not suffice; its refusal is told, with a sign-in page if there is one."""
    made = draft(
        satisfy="any", whitelist_source_range="10.0.0.0/8", auth_url="http://j.test/", auth_signin="http://in.test/"
    )
    assert asked(made, call(remote="10.0.0.1")) is None
    outcome = asked(made, call(remote="192.0.2.1"))
    assert isinstance(outcome, Subrequest)
    assert outcome.failed(401, {}).status == 302


def test_other_words_are_problems() -> None:
    """any or all."""
    assert draft(satisfy="some").problems
