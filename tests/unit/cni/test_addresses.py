"""Address ranges of clusters on one machine."""

import subprocess
import sys
from dataclasses import fields, replace
from ipaddress import IPv4Network

import pytest

from minikube_py.cni.addresses import AddressRangeTaken, RangeLock, lease_slice


@pytest.mark.parametrize("taken", ["nodes", "pods", "services", "load_balancers"])
def test_each_range_belongs_to_one_cluster(taken: str) -> None:
    """Whichever range a cluster is given, another one's is refused in a sentence that names it, and nothing stays."""
    first, lock = lease_slice()
    other, spare = lease_slice()
    spare.close()
    try:
        wanted = replace(other, **{taken: getattr(first, taken)})
        with pytest.raises(AddressRangeTaken, match=str(getattr(first, taken))):
            RangeLock(wanted)
        RangeLock(other).close()
        assert {field.name for field in fields(other)} == {"nodes", "pods", "services", "load_balancers"}
    finally:
        lock.close()


def test_a_range_within_anothers_is_refused() -> None:
    """Ranges that overlap without being the same are noticed, from both sides, and nothing stays."""
    whole, lock = lease_slice()
    other, spare = lease_slice()
    spare.close()
    part = replace(other, pods=IPv4Network((int(whole.pods[0]) + 4096, 24)))
    try:
        with pytest.raises(AddressRangeTaken, match=f"{part.pods} overlaps {whole.pods}"):
            RangeLock(part)
        lock.close()
        lock = RangeLock(part)
        with pytest.raises(AddressRangeTaken, match=f"{whole.pods} overlaps {part.pods}"):
            RangeLock(whole)
    finally:
        lock.close()
    RangeLock(whole).close()


def test_a_chosen_range_takes_the_place_of_the_slices_own() -> None:
    """It is held beside the slice's others; when it is taken the error names it, and no slice is tried in vain."""
    free, spare = lease_slice()
    spare.close()
    chosen = IPv4Network((int(free.pods[0]), 24))
    addresses, lock = lease_slice(pods=chosen)
    try:
        assert addresses.pods == chosen
        with pytest.raises(AddressRangeTaken, match=f"{chosen} belongs to another"):
            lease_slice(pods=chosen)
        other, second = lease_slice()
        second.close()
        assert not other.pods.overlaps(chosen)
    finally:
        lock.close()


_LEASE = """
import sys
from minikube_py.cni.addresses import lease_slice
print("ready", flush=True)
sys.stdin.readline()
taken = [lease_slice() for _ in range(2)]
print(*(addresses.pods for addresses, _ in taken), flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_programs_that_start_at_once_share_no_range() -> None:
    """The kernel says who is first."""
    command = [sys.executable, "-c", _LEASE]
    programs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    try:
        for program in programs:
            assert program.stdout
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin
            program.stdin.write("\n")
            program.stdin.flush()
        taken = [range_ for program in programs if program.stdout for range_ in program.stdout.readline().split()]
        assert len(taken) == len(set(taken)) == 16
    finally:
        for program in programs:
            program.communicate("\n")
