"""ipBlock: CIDRs, exceptions and the two forms of a cluster's addresses."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from minikube_py.cni.addresses import Addresses
from minikube_py.networkpolicy.blocks import IPBlock, StandIns

POD, SERVICE, NODE, BALANCER, OUTSIDE, INTERNET = (
    "127.244.1.5",
    "127.96.0.10",
    "127.18.0.3",
    "127.200.0.1",
    "127.0.0.1",
    "93.184.216.34",
)


@pytest.mark.parametrize(
    ("cidr", "exceptions", "covered"),
    [
        pytest.param("0.0.0.0/0", [], {POD, SERVICE, NODE, BALANCER, OUTSIDE, INTERNET}, id="0.0.0.0/0 covers all"),
        pytest.param("127.244.0.0/16", [], {POD}, id="own form of the pod range"),
        pytest.param("10.244.0.0/16", [], {POD}, id="real form of the pod range"),
        pytest.param("10.244.1.5/32", [], {POD}, id="real form of one pod"),
        pytest.param("10.96.0.0/12", [], {SERVICE}, id="real form of the Service range"),
        pytest.param("172.18.0.0/16", [], {NODE}, id="real form of the nodes"),
        pytest.param("0.0.0.0/0", ["10.0.0.0/8"], {NODE, BALANCER, OUTSIDE, INTERNET}, id="except in real form"),
        pytest.param(
            "0.0.0.0/0",
            ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
            {BALANCER, OUTSIDE, INTERNET},
            id="internet but no private networks",
        ),
        pytest.param("10.0.0.0/8", ["127.244.1.0/24"], {SERVICE}, id="CIDR in real form, except in own form"),
        pytest.param("10.244.1.77/16", [], {POD}, id="host bits are masked, as Go's ParseCIDR does"),
        pytest.param("::/0", [], set(), id="IPv6 covers no IPv4 address"),
        pytest.param("nonsense", [], set(), id="nonsense covers nothing"),
    ],
)
def test_covers(cidr: str, exceptions: list[str], covered: set[str]) -> None:
    """A block covers an address by either form, unless an exception does."""
    forms = StandIns.of(Addresses()).forms
    block = IPBlock.of(cidr, exceptions)
    everything = (POD, SERVICE, NODE, BALANCER, OUTSIDE, INTERNET)
    assert {address for address in everything if block.covers(forms(address))} == covered


def test_slices_stand_for_the_same_ranges() -> None:
    """The second cluster of a machine stands for the same real addresses as the first."""
    for number in (1, 5, 60):
        addresses = Addresses.slice(number)
        forms = StandIns.of(addresses).forms
        assert IPBlock.of("10.244.1.0/24").covers(forms(str(addresses.pod_cidr(1)[7])))
        assert IPBlock.of("10.96.0.10/32").covers(forms(addresses.dns_ip))
        assert IPBlock.of("172.18.0.2/32").covers(forms(addresses.node_ip(0)))
        assert len(forms("127.244.1.5")) == 1, "slice 0's addresses mean nothing to it"


def test_a_chosen_range_stands_for_its_own_octets() -> None:
    """A podSubnet that the user chose stands for the same numbers with 10 in front."""
    forms = StandIns.of(replace(Addresses(), pods=IPv4Network("127.50.0.0/16"))).forms
    assert IPBlock.of("10.50.3.0/24").covers(forms("127.50.3.9"))
    assert not IPBlock.of("10.244.0.0/16").covers(forms("127.50.3.9"))
    assert IPBlock.of("10.96.0.0/16").covers(forms("127.96.0.1")), "the other ranges keep their meaning"


def test_what_is_no_ipv4_address_has_no_form() -> None:
    """IPv6 sources are in no IPv4 block."""
    assert not IPBlock.of("0.0.0.0/0").covers(StandIns.of(Addresses()).forms("::1"))


def test_the_exception_is_named() -> None:
    """Whoever asks why is told which exception it was."""
    forms = StandIns.of(Addresses()).forms
    assert IPBlock.of("0.0.0.0/0", ["192.168.0.0/16", "10.244.0.0/16"]).excepts(forms(POD)) == "10.244.0.0/16"
