"""auth-type basic and digest, with the Secret as a file and as a map."""

import base64
import hashlib
import re
from typing import Any

import pytest

from minikube_py.ingress.htpasswd import apr1, supported, verify
from minikube_py.ingress.options import Answer

from ..support import World, asked, call, draft, echo, secret, status


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("kind", "data"),
    [("auth-file", {"auth": "# staff\nann:{PLAIN}pw\nbob:{PLAIN}x\n"}), ("auth-map", {"ann": "{PLAIN}pw"})],
)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, 401, id="nobody"),
        pytest.param(basic("ann", "pw"), 200, id="ann"),
        pytest.param(basic("ann", "nope"), 401, id="wrong password"),
        pytest.param(basic("eve", "pw"), 401, id="unknown user"),
        pytest.param({"Authorization": "Basic ***"}, 401, id="no base64"),
        pytest.param({"Authorization": "Bearer pw"}, 401, id="another scheme"),
    ],
)
def test_basic(kind: str, data: dict[str, str], headers: dict[str, str], expected: int) -> None:
    """Users of the Secret get in, by their password."""
    made = draft(auth_type="basic", auth_secret="users", auth_secret_type=kind, extra=[secret("users", **data)])
    assert status(made, call(headers=headers)) == expected


@pytest.mark.usefixtures("both_ways")
async def test_a_changed_secret_holds_from_the_next_request_on(running: World) -> None:
    """No Secret: nobody, 503; then who is in it; the challenge names the realm."""
    running.serve("web", await running.pod(echo), auth_type="basic", auth_secret="users", auth_realm="Shop")
    assert (await running.get())[0] == 503
    running.create(secret("users", auth="ann:{PLAIN}pw\n"))
    status, headers, _ = await running.get()
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Shop"')
    assert (await running.get(**basic("ann", "pw")))[0] == 200
    running.api.update(secret("users", auth="ann:{PLAIN}other\n"))
    assert (await running.get(**basic("ann", "pw")))[0] == 401


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def proof(challenge: str, password: str, *, uri: str = "/menu?a=1", user: str = "ann") -> dict[str, str]:
    """Answer a challenge as a browser does (RFC 2617 §3.2.2)."""
    nonce = re.search(r'nonce="(\w+)"', challenge)
    assert nonce
    response = md5(f"{md5(f'{user}:Shop:{password}')}:{nonce[1]}:00000001:c0ffee:auth:{md5(f'GET:{uri}')}")
    fields = f'username="{user}", realm="Shop", nonce="{nonce[1]}", uri="{uri}", response="{response}"'
    return {"Authorization": f'Digest {fields}, qop=auth, nc=00000001, cnonce="c0ffee"'}


@pytest.mark.parametrize(
    ("password", "target", "later", "expected"),
    [
        pytest.param("pw", "/menu?a=1", 0.0, 200, id="right"),
        pytest.param("no", "/menu?a=1", 0.0, 401, id="wrong password"),
        pytest.param("pw", "/order", 0.0, 401, id="made for another URI"),
        pytest.param("pw", "/menu?a=1", 61.0, 401, id="an old nonce"),
    ],
)
def test_digest(password: str, target: str, later: float, expected: int) -> None:
    """The digest must fit user, realm, method and URI, with a nonce of ours that is not a minute old."""
    users = secret("users", auth=f"ann:Shop:{md5('ann:Shop:pw')}\nann:Elsewhere:{md5('x')}\n")
    made = draft(auth_type="digest", auth_secret="users", auth_realm="Shop", extra=[users])
    state: dict[Any, Any] = {}
    challenged = asked(made, call("/menu?a=1", state=state))
    assert isinstance(challenged, Answer)
    assert challenged.status == 401
    ((_, challenge),) = challenged.headers
    outcome = asked(made, call(target, state=state, now=later, headers=proof(challenge, password)))
    assert (outcome.status if isinstance(outcome, Answer) else 200) == expected
    if later:
        assert isinstance(outcome, Answer)
        assert "stale=true" in outcome.headers[0][1]


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", id="SHA"),
        pytest.param("{PLAIN}password", id="plain"),
        pytest.param(apr1(b"password", b"abcdefgh"), id="apr1"),
        pytest.param("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", id="apr1 as htpasswd wrote it"),
    ],
)
def test_htpasswd(stored: str) -> None:
    """Stored passwords are recognized, and others are not."""
    assert supported(stored)
    assert verify("password", stored)
    assert not verify("passwore", stored)
