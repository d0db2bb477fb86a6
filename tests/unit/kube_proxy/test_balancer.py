"""minikube_py/kube_proxy/balancer.py"""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.kube_proxy.balancer import Balancer, Mode
from minikube_py.kube_proxy.table import Endpoint


def _endpoints(*names: int) -> tuple[Endpoint, ...]:
    return tuple(sorted(Endpoint(f"127.244.1.{name}", 80) for name in names))


@given(st.integers(1, 40), st.integers(1, 400))
def test_round_robin_is_fair_to_one(count: int, calls: int) -> None:
    """However many calls, no endpoint has more than one call more than another: 1,000 over three are 333/333/334."""
    balancer, among = Balancer(Mode.ROUND_ROBIN), _endpoints(*range(count))
    picked = Counter(balancer.pick(among, "c", 0.0) for _ in range(calls))
    assert max(picked.values()) - min(picked.get(one, 0) for one in among) <= 1


@given(st.lists(st.frozensets(st.integers(0, 9), min_size=1), min_size=1, max_size=50))
def test_round_robin_walks_on_while_endpoints_come_and_go(rounds: list[frozenset[int]]) -> None:
    """The next pick is the first address after the last one, whatever has changed in between."""
    balancer, last = Balancer(Mode.ROUND_ROBIN), ""
    for names in rounds:
        among = _endpoints(*names)
        expected = next((one for one in among if one.ip > last), among[0])
        chosen = balancer.pick(among, "c", 0.0)
        assert chosen == expected
        last = chosen.ip if chosen else ""


@pytest.mark.parametrize("mode", list(Mode))
def test_nobody_to_pick_is_none(mode: Mode) -> None:
    """Without candidates there is no endpoint, in every mode."""
    assert Balancer(mode).pick((), "c", 0.0) is None


def test_random_mode_takes_its_chance_from_outside() -> None:
    """The same seed gives the same picks, and all endpoints get some."""
    among = _endpoints(1, 2, 3)
    runs = []
    for _ in range(2):
        balancer = Balancer(Mode.RANDOM, chance=random.Random(7))
        runs.append([balancer.pick(among, "c", 0.0) for _ in range(60)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == set(among)


def test_least_connections_picks_the_least_busy_and_takes_turns_among_equals() -> None:
    """Open connections decide; ties go round."""
    load = {("127.244.1.1", 80): 3, ("127.244.1.2", 80): 1, ("127.244.1.3", 80): 1}
    balancer, among = Balancer(Mode.LEAST_CONN, open_connections=lambda target: load[target]), _endpoints(1, 2, 3)
    picks = [balancer.pick(among, "c", 0.0) for _ in range(4)]
    assert [one.ip[-1] for one in picks if one] == ["2", "3", "2", "3"]


@given(st.frozensets(st.integers(0, 50), min_size=2), st.lists(st.ip_addresses(v=4), min_size=1, max_size=20))
def test_source_hash_moves_only_the_clients_of_a_lost_endpoint(names: frozenset[int], clients: list[object]) -> None:
    """A client always gets the same endpoint, and keeps it when another one leaves."""
    balancer, among = Balancer(Mode.SOURCE_HASH), _endpoints(*names)
    for client in map(str, clients):
        chosen = balancer.pick(among, client, 0.0)
        assert balancer.pick(among, client, 0.0) == chosen
        for lost in among:
            rest = tuple(one for one in among if one != lost)
            assert (balancer.pick(rest, client, 0.0) == chosen) == (lost != chosen)


def test_affinity_keeps_a_client_until_its_time_is_over() -> None:
    """Each call renews it; after the timeout, or when the endpoint is gone, the client is anybody's."""
    balancer, among = Balancer(Mode.ROUND_ROBIN), _endpoints(1, 2, 3)
    first = balancer.pick(among, "a", 0.0, 10.0)
    assert balancer.pick(among, "b", 0.0, 10.0) != first
    assert balancer.pick(among, "a", 9.0, 10.0) == first
    assert balancer.pick(among, "a", 18.0, 10.0) == first
    assert balancer.pick(among, "a", 28.0, 10.0) != first
    moved = balancer.pick(among, "a", 29.0, 10.0)
    assert moved is not None
    rest = tuple(one for one in among if one != moved)
    assert balancer.pick(rest, "a", 30.0, 10.0) in rest


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.frozensets(st.integers(0, 3))), min_size=1, max_size=60
    ),
    st.sampled_from(Mode),
)
def test_affinity_in_any_history(calls: list[tuple[str, float, frozenset[int]]], mode: Mode) -> None:
    """A client meets its endpoint again if that is a candidate and less than the timeout has passed; else any one."""
    balancer, now = Balancer(mode), 0.0
    last: dict[str, tuple[Endpoint, float]] = {}
    for client, later, names in calls:
        now += later
        among = _endpoints(*names)
        chosen = balancer.pick(among, client, now, 10.0)
        assert (chosen is None) == (not among)
        if chosen is None:
            continue
        assert chosen in among
        if client in last and now - last[client][1] < 10.0 and last[client][0] in among:
            assert chosen == last[client][0]
        last[client] = chosen, now


@given(st.lists(st.tuples(st.frozensets(st.integers(0, 4), min_size=1), st.booleans()), max_size=60))
def test_least_connections_never_picks_a_busier_one(calls: list[tuple[frozenset[int], bool]]) -> None:
    """Whatever comes, goes and hangs up, the one picked has no more open connections than any other candidate."""
    busy: Counter[tuple[str, int]] = Counter()
    balancer = Balancer(Mode.LEAST_CONN, open_connections=lambda target: busy[target])
    for names, hang_up in calls:
        among = _endpoints(*names)
        chosen = balancer.pick(among, "c", 0.0)
        assert chosen is not None
        assert busy[chosen.address] == min(busy[one.address] for one in among)
        busy[chosen.address] += 1
        if hang_up:
            busy[busy.most_common(1)[0][0]] -= 1


def test_affinity_does_not_grow_for_ever() -> None:
    """Clients whose time is over are forgotten."""
    balancer, among = Balancer(Mode.ROUND_ROBIN), _endpoints(1, 2)
    for number in range(5000):
        balancer.pick(among, f"client-{number}", float(number), 10.0)
    assert len(balancer.affinity) < 1100
