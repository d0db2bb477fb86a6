"""The command line's own client, by a real API server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer
from minikube_py.cli.api import Client
from minikube_py.cli.builtin import run
from minikube_py.cli.console import Failure

CONFIG_MAP: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "menu", "namespace": "default"},
    "data": {"tea": "1"},
}


@pytest.fixture
def operations() -> Operations:
    return Operations(LoopClock(), seed=1)


@pytest.fixture
async def facts(operations: Operations, tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """What the command line knows of an API server without controllers."""
    credentials = Credentials.create()
    server = APIServer(operations, clock=LoopClock(), port=0, credentials=credentials)
    await server.start()
    authority = tmp_path / "ca.crt"
    authority.write_bytes(credentials.authority.cert_pem)
    yield {"api": server.url, "token": credentials.token, "ca": str(authority)}
    await server.stop()


async def following(client: Client, seconds: float) -> AsyncIterator[Object | None]:
    """Follow the ConfigMap in a thread, as the command line is one of its own."""
    seen: Iterator[Object | None] = client.watch(
        client.registry.by_resource("configmaps"), "menu", "default", seconds=seconds
    )
    end = object()
    while (found := await asyncio.to_thread(next, seen, end)) is not end:
        yield found  # type: ignore[misc]  # the sentinel is gone


async def test_an_object_is_followed_from_before_it_is_made_until_it_is_gone(
    facts: dict[str, Any], operations: Operations
) -> None:
    """None, each state, None again: what the API server says, in its order."""
    changes = following(Client(facts), 30)
    assert await anext(changes) is None
    made = operations.create(CONFIG_MAP)
    assert (await anext(changes) or {})["data"] == {"tea": "1"}
    operations.update({**made, "data": {"tea": "2"}})
    assert (await anext(changes) or {})["data"] == {"tea": "2"}
    operations.delete("configmaps", "menu", "default")
    assert await anext(changes) is None


async def test_following_ends_with_a_last_look(facts: dict[str, Any]) -> None:
    """An object that nobody makes is None now, and None when the time is up."""
    assert [seen async for seen in following(Client(facts), 0.05)] == [None, None]


async def test_waiting_in_vain_says_what_is_missing(facts: dict[str, Any]) -> None:
    """The built-in wait, too, ends when its time is up."""
    with pytest.raises(
        Failure, match="timed out waiting for the condition: pods/web does not exist in namespace default"
    ):
        await asyncio.to_thread(run, ["wait", "--for=condition=Ready", "--timeout=50ms", "pod/web"], facts)


async def test_a_deletion_is_over_when_the_object_is_gone(
    facts: dict[str, Any], operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    """What finalizers hold is waited for, as kubectl does."""
    held = {**CONFIG_MAP, "metadata": {**CONFIG_MAP["metadata"], "finalizers": ["example.org/hold"]}}
    operations.create(held)
    deletion = asyncio.create_task(asyncio.to_thread(run, ["delete", "configmap", "menu"], facts))
    changes = following(Client(facts), 30)
    while not (await anext(changes) or {})["metadata"].get("deletionTimestamp"):
        pass
    assert not deletion.done()
    operations.modify("configmaps", "menu", "default", lambda stored: stored["metadata"].pop("finalizers"))
    assert await deletion == 0
    assert capsys.readouterr().out == 'configmap "menu" deleted\n'


async def test_what_has_no_rollout_is_refused(facts: dict[str, Any]) -> None:
    """In kubectl's words."""
    with pytest.raises(Failure, match="no status viewer has been implemented for Service"):
        await asyncio.to_thread(run, ["rollout", "status", "service/web"], facts)
