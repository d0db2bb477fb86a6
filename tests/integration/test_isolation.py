"""Clusters live side by side and leave nothing behind."""

import asyncio
from pathlib import Path

import httpx
import pytest

from minikube_py import AsyncCluster, Cluster

from .netexec import OUTSIDE

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"


def test_the_end_of_the_with_leaves_nothing(no_leaks: None) -> None:
    """No thread, socket, file or folder survives."""
    with Cluster(SHOP) as c:
        assert httpx.get(c.url("service/order")).status_code == 200
        folder = c.kubeconfig
        assert Path(folder).exists()
    assert not Path(folder).exists()


def test_two_clusters_of_one_process_share_nothing() -> None:
    """Each has its own ranges; what happens in one doesn't show in the other."""
    with Cluster(SHOP) as one, Cluster() as two:
        assert one.addresses.services != two.addresses.services
        assert two.get("pods") == []
        assert httpx.get(one.url("service/order")).status_code == 200


def test_a_start_that_fails_undoes_itself(no_leaks: None) -> None:
    """A manifest that the API refuses raises, and the thread is gone."""
    bad = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"clusterIP": "8.8.8.8", "ports": [{"port": 80}]},
    }
    with pytest.raises(Exception, match="not in the valid range"), Cluster(bad):
        pass


async def test_async_code_uses_the_same_names(no_leaks: None) -> None:
    """AsyncCluster waits without blocking the test's own loop."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    async with AsyncCluster.from_files(SHOP) as c:
        await c.wait("deployment/coffee-shop", ready=3)
        async with c.client(from_pod="deployment/order") as http:
            assert (await http.get("http://tea-house/")).text.strip() == "Tea, on floor 3."
        [killed] = await c.kill("deployment/tea-house")
        await c.wait_gone(f"pod/{killed}")
        assert len(await c.get("nodes")) == 3
    ticking.cancel()
    assert ticks > 10


@pytest.mark.minicluster(SHOP)
async def test_an_async_test_takes_the_same_fixture(minicluster: Cluster) -> None:
    """The fixture works in async tests; `.aio` is the awaitable handle."""
    await minicluster.aio.wait("deployment/order")
    async with minicluster.aio.client() as http:
        assert (await http.get("http://tea.com/")).status_code == 200


def test_a_range_that_is_taken_is_one_sentence(no_leaks: None) -> None:
    """Whichever of the four ranges was chosen: a second cluster with it is refused at once."""
    pods = f"{OUTSIDE}.0.0/16"
    chosen = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"podSubnet": pods}}
    with (
        Cluster(config=chosen),
        pytest.raises(Exception, match=f"{pods} belongs to another running cluster"),
        Cluster(config=chosen),
    ):
        pass
