"""minikube_py/cni/ipam.py"""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minikube_py.cni.ipam import Exhausted, InUse, Pool


def test_addresses_are_given_out_in_order_after_the_reserved_ones() -> None:
    """The first lease is the first address that is neither the network's own nor reserved."""
    pool = Pool(IPv4Network("127.244.1.0/24"), ["127.244.1.1"])
    assert [pool.lease("a"), pool.lease("b")] == ["127.244.1.2", "127.244.1.3"]


def test_a_released_address_waits_until_all_others_were_used() -> None:
    """A replaced pod gets a new address, though its old one is free."""
    pool = Pool(IPv4Network("127.244.1.0/29"))
    first = pool.lease("old")
    pool.release(first)
    assert [pool.lease("new") for _ in range(6)] == [*(f"127.244.1.{n}" for n in range(2, 7)), first]


def test_a_full_range_says_so() -> None:
    """Exhausted names the range and how much is in use."""
    pool = Pool(IPv4Network("127.244.1.0/30"))
    pool.lease("a"), pool.lease("b")
    with pytest.raises(Exhausted, match=r"127\.244\.1\.0/30 has no free address left \(2 in use\)"):
        pool.lease("c")


def test_a_fixed_address_belongs_to_one_owner() -> None:
    """Reserving what another has fails with that owner's name; a foreign address is a ValueError."""
    pool = Pool(IPv4Network("127.96.0.0/24"))
    pool.reserve("127.96.0.10", "kube-system/kube-dns")
    assert pool.reserve("127.96.0.10", "kube-system/kube-dns") == "127.96.0.10"
    with pytest.raises(InUse, match="in use by kube-system/kube-dns"):
        pool.reserve("127.96.0.10", "default/web")
    with pytest.raises(ValueError, match="not in"):
        pool.reserve("127.97.0.10", "default/web")


class PoolMachine(RuleBasedStateMachine):
    """The oracle is a dict of leases and the list of addresses given out since their last full walk."""

    def __init__(self) -> None:
        super().__init__()
        self.network = IPv4Network("127.1.2.0/28")
        self.pool = Pool(self.network, ["127.1.2.1"])
        self.model: dict[str, str] = {}
        self.usable = [str(ip) for ip in self.network.hosts()][1:]
        self.last = ""

    @rule(owner=st.sampled_from("abc"))
    def lease(self, owner: str) -> None:
        start = self.usable.index(self.last) + 1 if self.last in self.usable else 0
        order = self.usable[start:] + self.usable[:start]
        expected = next((ip for ip in order if ip not in self.model), None)
        if expected is None:
            with pytest.raises(Exhausted):
                self.pool.lease(owner)
            return
        assert self.pool.lease(owner) == expected
        self.model[expected] = owner
        self.last = expected

    @rule(offset=st.integers(0, 15), owner=st.sampled_from("abc"))
    def reserve(self, offset: int, owner: str) -> None:
        address = str(IPv4Address(int(self.network.network_address) + offset))
        if self.model.get(address, owner) != owner:
            with pytest.raises(InUse):
                self.pool.reserve(address, owner)
            return
        self.pool.reserve(address, owner)
        self.model[address] = owner

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.model)))
        self.pool.release(address)
        del self.model[address]

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert dict(self.pool.leases) == self.model
        assert self.pool.free == len([ip for ip in self.usable if ip not in self.model])


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
