"""Address ranges of clusters on one machine."""

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
