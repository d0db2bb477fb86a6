"""Pods: an immutable map that behaves as the dict it stands for."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.networkpolicy.identity import Endpoint, Identities
from minikube_py.networkpolicy.pods import Pods

IDENTITY = Identities().intern("shop", {}, {}, ())
ADDRESSES = [f"127.244.{node}.{pod}" for node in range(2) for pod in range(3)]


def endpoint(ip: str, uid: str) -> Endpoint:
    return Endpoint(ip, f"pod-{uid}", uid, "worker", "127.18.0.3", IDENTITY)


@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.booleans())))
def test_changes_are_those_of_a_dict(changes: list[tuple[str, bool]]) -> None:
    """Whatever comes and goes, a map has what a dict would have, and the maps before it keep what they had."""
    pods, plain = Pods(), dict[str, Endpoint]()
    before: list[tuple[Pods, dict[str, Endpoint]]] = []
    for number, (ip, comes) in enumerate(changes):
        before.append((pods, dict(plain)))
        if comes:
            plain[ip] = endpoint(ip, str(number))
            pods = pods.plus(plain[ip])
        elif ip in pods:
            del plain[ip]
            pods = pods.minus(ip)
        assert all(pods.get(known) is plain.get(known) for known in ADDRESSES)
    for then, expected in [*before, (pods, plain), (Pods.of(plain), plain)]:
        assert dict(then) == expected
        assert len(then) == len(expected)


def test_nobody_is_at_an_address_that_no_node_has() -> None:
    """An address outside every range, or no address at all, is nobody's."""
    assert Pods().get("8.8.8.8") is None
    assert "" not in Pods()
