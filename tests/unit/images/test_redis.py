"""redis: real clients against the stand-in."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from .pods import Pods, Running


@asynccontextmanager
async def client(pods: Pods, pod: Running, port: int = 6379, **options: Any) -> AsyncIterator[Any]:
    host, real = pods.fabric.real_address(pod.ip, port)
    redis = Redis(host=host, port=real, retry=Retry(NoBackoff(), 0), **options)
    try:
        yield redis
    finally:
        await redis.aclose()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


async def test_data_and_expiry(pods: Pods, protocol: int) -> None:
    """Strings expire, hashes and transactions work, errors are redis' own."""
    pod = await pods.run("redis:7-alpine")
    async with client(pods, pod, protocol=protocol) as redis:
        assert await redis.set("order", "flat white", px=40)
        assert await redis.get("order") == b"flat white"
        await asyncio.sleep(0.05)
        assert await redis.get("order") is None
        await redis.hset("menu", mapping={"espresso": 2})
        assert await redis.hgetall("menu") == {b"espresso": b"2"}
        async with redis.pipeline() as pipeline:
            assert await pipeline.incr("cups").incr("cups").execute() == [1, 2]
        with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
            await redis.incr("menu")
        assert (await redis.info("replication"))["role"] == "master"


async def test_pub_sub(pods: Pods, protocol: int) -> None:
    """A message reaches a subscriber of another connection."""
    pod = await pods.run("redis")
    async with client(pods, pod, protocol=protocol) as redis, redis.pubsub() as channel:
        await channel.subscribe("orders")
        assert (await channel.get_message(timeout=2))["type"] == "subscribe"
        assert await redis.publish("orders", "latte") == 1
        assert (await channel.get_message(timeout=2))["data"] == b"latte"


async def test_blocking_pop_ends_with_data_and_with_its_client(pods: Pods) -> None:
    """BLPOP waits for a push; a client that goes away while it waits leaves nothing behind."""
    pod = await pods.run("redis")
    before = asyncio.all_tasks()
    async with client(pods, pod) as redis, client(pods, pod) as other:
        waiting = asyncio.create_task(redis.blpop("queue", timeout=5))
        await asyncio.sleep(0.02)
        await other.rpush("queue", "mocha")
        assert [*await waiting] == [b"queue", b"mocha"]
        waiting = asyncio.create_task(redis.blpop("queue", timeout=0))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    for _ in range(100):
        if not asyncio.all_tasks() - before:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - before == set()


async def test_password_and_port_from_the_command_line(pods: Pods) -> None:
    """--requirepass keeps out who doesn't bring the password; --port moves it."""
    pod = await pods.run("redis", command=("redis-server",), args=("--requirepass", "beans", "--port", "6380"))
    async with client(pods, pod, 6380) as redis:
        with pytest.raises(exceptions.AuthenticationError):
            await redis.get("order")
    async with client(pods, pod, 6380, password="beans") as redis:
        assert await redis.ping()
    async with client(pods, pod, 6380, password="leaves") as redis:
        with pytest.raises(exceptions.AuthenticationError):
            await redis.ping()


async def test_mounted_configuration(pods: Pods, tmp_path: Path) -> None:
    """A redis.conf of a ConfigMap counts."""
    (tmp_path / "redis.conf").write_text("# mine\nrequirepass beans\nport 6381\n")
    pod = await pods.run(
        "redis", command=("redis-server", "/redis-master/redis.conf"), files={"/redis-master": tmp_path}
    )
    async with client(pods, pod, 6381, password="beans") as redis:
        assert await redis.ping()


async def test_replica_has_its_leaders_data(pods: Pods) -> None:
    """A follower answers with what the leader was given; without a leader it says that the link is down."""
    leader = await pods.run("redis", name="leader")
    follower = await pods.run("redis", args=("--replicaof", leader.ip, "6379"), name="follower")
    async with client(pods, leader) as one, client(pods, follower) as two:
        await one.set("guest", "Ada")
        assert await two.get("guest") == b"Ada"
    lonely = await pods.run("redis", args=("--replicaof", leader.ip, "6390"), name="lonely")
    assert b"MASTERDOWN" in await lonely.talk(b"PING\r\n", 6379)


async def test_sentinel_names_its_master(pods: Pods, tmp_path: Path) -> None:
    """Clients ask it for the master that its configuration monitors, on the port that it says."""
    lines = ("port 5000", "sentinel monitor mymaster 10.1.2.3 6379 2", "sentinel down-after-milliseconds mymaster 5000")
    (tmp_path / "sentinel.conf").write_text("\n".join(lines))
    pod = await pods.run("redis:7", command=("redis-sentinel", "/conf/sentinel.conf"), files={"/conf": tmp_path})
    host, port = pods.fabric.real_address(pod.ip, 5000)
    sentinel = Sentinel([(host, port)], min_other_sentinels=0)
    assert await sentinel.discover_master("mymaster") == ("10.1.2.3", 6379)
    for one in sentinel.sentinels:
        await one.aclose()
    assert b"No such master" in await pod.talk(b"SENTINEL MASTER other\r\nQUIT\r\n", 5000)


async def test_a_cluster_is_made_of_nodes_that_answer(pods: Pods) -> None:
    """The Job of Redis Cluster tutorials ends once all nodes are there."""
    pod = await pods.run("redis:7")
    made = await pod.exec("redis-cli", "--cluster", "create", f"{pod.ip}:6379", "--cluster-replicas", "0")
    assert (made.code, "1 nodes answer" in made.out) == (0, True)
    assert (await pod.exec("redis-cli", "--cluster", "create", f"{pod.ip}:6390")).code == 1


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """fakeredis is not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "fakeredis" else find(name))


@pytest.mark.usefixtures("no_engine")
async def test_without_the_engine(pods: Pods) -> None:
    """Pings are answered, data refused with the way to get them."""
    pod = await pods.run("redis")
    answer = (await pod.talk(b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\nQUIT\r\n", 6379)).decode()
    assert answer.startswith("+PONG\r\n-ERR 'SET' is not available")
    assert "pip install 'minikube-py[redis]'" in answer
