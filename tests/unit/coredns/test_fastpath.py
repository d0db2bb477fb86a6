"""minikube_py/coredns/fastpath.py: a batch is answered as its queries one by one are."""

import random

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.cni.dnswire import query
from minikube_py.coredns.corefile import default_corefile, parse
from minikube_py.coredns.engine import Engine, Finished
from minikube_py.coredns.plugins import Context, build
from minikube_py.coredns.zone import Zone

_ZONE = Zone.compile(
    [
        {"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterIPs": [f"127.96.1.{i}"], "ports": []}}
        for i, name in enumerate(("web", "api"), 1)
    ],
    [],
    [{"metadata": {"name": "shop"}}],
)


class _Source:
    zone = _ZONE


def _engine() -> Engine:
    context = Context((), lambda path: None, ())
    return Engine(_Source(), [build(block, context) for block in parse(default_corefile(), {})], lambda entry: None)


_NAMES = st.sampled_from(["web.shop.svc.cluster.local.", "API.shop.svc.Cluster.local.", "nope.shop.svc.cluster.local."])
_QUERIES = st.builds(query, st.integers(0, 65535), _NAMES, st.sampled_from([1, 28]), edns=st.sampled_from([0, 1232]))


@given(st.lists(_QUERIES | st.binary(max_size=60), max_size=20))
def test_a_batch_is_answered_as_one_by_one(queries: list[bytes]) -> None:
    """The replies, their order and what is left for the slow path are those of `fast`, whatever was sent."""
    single, batched = _engine(), _engine()
    for engine in (single, batched):
        for data in queries[::2]:  # half of them have been asked before
            done = engine.slow(data, "127.0.0.1", tcp=False)
            assert not isinstance(done, Finished) or done.reply
    received = [(data, ("127.0.0.1", random.Random(i).randrange(65536))) for i, data in enumerate(queries)]
    replies, entries, known, others = batched.fast_all(received)
    expected = [(datagram, single.fast(datagram[0])) for datagram in received]
    assert replies == [(found[0], client) for (_, client), found in expected if found]
    assert known == [datagram for datagram, found in expected if found]
    assert others == [datagram for datagram, found in expected if not found]
    assert [entry.info for entry in entries] == [found[1].info for _, found in expected if found]
