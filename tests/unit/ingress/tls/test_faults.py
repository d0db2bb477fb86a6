"""minikube_py/ingress/tls/faults.py."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from minikube_py.aiokit.selfsigned import self_signed
from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.tls.faults import fault_of

_NOW = datetime.now(UTC)
_PAIR = self_signed("shop.example", ["shop.example", "*.shop.example"])


def _secret(pair: tuple[bytes, bytes] = _PAIR) -> Object:
    data = {key: base64.b64encode(value).decode() for key, value in zip(("tls.crt", "tls.key"), pair, strict=True)}
    return {"kind": "Secret", "type": "kubernetes.io/tls", "data": data}


@pytest.mark.parametrize(
    ("secret", "host", "now", "words", "shown"),
    [
        pytest.param(None, "shop.example", _NOW, "it does not exist", False, id="missing"),
        pytest.param(
            {"type": "Opaque", "data": {"cert": "eA=="}}, "", _NOW, "no tls.crt (type Opaque, keys: cert)", False,
            id="another type",
        ),
        pytest.param(_secret((b"no", _PAIR[1])), "", _NOW, "tls.crt is no PEM certificate", False, id="bad PEM"),
        pytest.param(_secret((_PAIR[0], b"no")), "", _NOW, "tls.key is no PEM private key", False, id="bad key"),
        pytest.param(
            _secret((_PAIR[0], self_signed("x", ["x"])[1])), "", _NOW, "is not the key of", False, id="another's key"
        ),
        pytest.param(_secret(), "", _NOW + timedelta(days=900), "expired at", True, id="expired"),
        pytest.param(_secret(), "", _NOW - timedelta(days=9), "is valid from", True, id="not yet"),
        pytest.param(
            _secret(), "other.example", _NOW, "is for shop.example, *.shop.example, not for other.example", True,
            id="another host",
        ),
        pytest.param(_secret(), "a.b.shop.example", _NOW, "not for a.b", True, id="a wildcard is one label"),
    ],
)  # fmt: skip
def test_a_fault_says_what_is_wrong_and_what_is_shown(
    secret: Object | None, host: str, now: datetime, words: str, shown: bool
) -> None:
    """Callers get a certificate in any case: which, is part of the finding."""
    fault = fault_of(secret, host, now)
    assert fault is not None
    assert words in str(fault)
    assert fault.shown is shown
    assert ("callers are shown it all the same" in str(fault)) is shown


@pytest.mark.parametrize("host", ["", "shop.example", "SHOP.example", "a.shop.example", "*.shop.example"])
def test_a_certificate_that_covers_its_host_has_no_fault(host: str) -> None:
    """By name, by wildcard, in any case."""
    assert fault_of(_secret(), host, _NOW) is None
