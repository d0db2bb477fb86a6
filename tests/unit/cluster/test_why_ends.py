"""What `mkpy why FROM TO[:PORT]` takes its ends for."""

import pytest

from minikube_py.cluster.targets import UnknownTarget
from minikube_py.cluster.why_ends import Destination, port_of

API = Destination("svc/api (default)", "api", ({"port": 80, "name": ""}, {"port": 9000, "name": "metrics"}))


@pytest.mark.parametrize(("text", "port"), [("", 80), ("9000", 9000), ("metrics", 9000), ("1234", 1234)])
def test_a_port_is_a_number_or_a_name(text: str, port: int) -> None:
    """Without one it is the first."""
    assert port_of(API, text) == port


@pytest.mark.parametrize("text", ["grpc", "0", "99999"])
def test_an_unknown_port_is_told_the_known_ones(text: str) -> None:
    """By number where they have no name."""
    with pytest.raises(UnknownTarget, match=rf'has no port "{text}"; its ports: 80, metrics \(9000\)'):
        port_of(API, text)
