"""From bytes to bytes: what clients see on the wire, read back with dnslib."""

import random
import struct
from types import SimpleNamespace

import dnslib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minikube_py.cni.dnswire import header, query, type_number
from minikube_py.cni.dnswire import records as wire_records
from minikube_py.coredns.corefile import default_corefile, parse
from minikube_py.coredns.engine import Engine, Finished, Pending
from minikube_py.coredns.message import Question
from minikube_py.coredns.plugins import Context, build
from minikube_py.coredns.plugins.plugin import Query, Upstream
from minikube_py.coredns.zone import Zone

S = "shop.svc.cluster.local."


def engine_of(zone: Zone, text: str = "") -> Engine:
    context = Context((Upstream("192.0.2.53"),), addresses=("127.244.0.2",))
    blocks = [build(block, context) for block in parse(text or default_corefile())]
    return Engine(SimpleNamespace(zone=zone), blocks, lambda entry: None)


@pytest.fixture
def engine(zone: Zone) -> Engine:
    return engine_of(zone)


def reply_to(engine: Engine, data: bytes, *, tcp: bool = False) -> dnslib.DNSRecord:
    found = engine.fast(data, tcp=tcp)
    if found is None:
        done = engine.slow(data, "127.0.0.1", tcp=tcp)
        assert isinstance(done, Finished)
        return dnslib.DNSRecord.parse(done.reply)
    return dnslib.DNSRecord.parse(found[0])


def records(rrs: list[dnslib.RR]) -> list[tuple[str, int, int, str]]:
    return [(str(rr.rname), rr.ttl, rr.rtype, str(rr.rdata)) for rr in rrs if rr.rtype != 41]


NAMES = st.sampled_from(
    [
        f"web.{S}",
        f"db.{S}",
        f"db-0.db.{S}",
        f"_pg._tcp.db.{S}",
        f"_http._tcp.web.{S}",
        f"inside.{S}",
        f"dual.{S}",
        f"nobody.{S}",
        "cluster.local.",
        "dns-version.cluster.local.",
        "7.1.244.127.in-addr.arpa.",
        "1.1.96.127.in-addr.arpa.",
        "10-1-2-3.shop.pod.cluster.local.",
        "9.9.9.127.in-addr.arpa.",
    ]
)
TYPES = st.sampled_from(["A", "AAAA", "SRV", "PTR", "TXT", "SOA", "NS", "CNAME", "ANY", "MX"])


@given(
    questions=st.lists(st.tuples(NAMES, TYPES), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
    edns=st.sampled_from([0, 400, 1232, 4096]),
    do=st.booleans(),
    tcp=st.booleans(),
)
def test_the_law_of_case(questions: list[tuple[str, str]], seed: int, edns: int, do: bool, tcp: bool) -> None:
    """Whatever the spelling, finished before or not, the wire says what the chain says of the name as sent."""
    chance = random.Random(seed)
    engine = engine_of(_ZONE)
    handler = engine.served[0].handler
    for name, type_ in questions * 2:
        spelled = "".join(chance.choice((char.lower(), char.upper())) for char in name)
        data = query(chance.getrandbits(16), spelled, type_number(type_), edns=edns, do=do)
        want = handler(Query(Question(spelled, type_), _ZONE))
        if not hasattr(want, "rcode"):
            assert isinstance(engine.slow(data, "127.0.0.1", tcp=tcp), Pending)
            continue
        got = reply_to(engine, data, tcp=tcp)
        assert got.pack()[:2] == data[:2]
        assert str(got.q.qname) == spelled
        assert dnslib.RCODE[got.header.rcode] == want.rcode
        assert got.header.aa == want.authoritative
        assert not got.header.tc
        for section, expected in ((got.rr, want.answer), (got.auth, want.authority), (got.ar, want.additional)):
            text = [(r.name, r.ttl, type_number(r.type), " ".join(r.rdata.split())) for r in expected]
            mine = [(a, b, c, " ".join(d.split())) for a, b, c, d in records(section)]
            if section is got.rr and type_ == "A":
                assert sorted(mine) == sorted(text)
            else:
                assert mine == text
        assert any(rr.rtype == 41 for rr in got.ar) == bool(edns)


@pytest.fixture(autouse=True)
def _shared_zone(zone: Zone) -> None:
    global _ZONE  # hypothesis can't take function fixtures
    _ZONE = zone


_ZONE = Zone()


def test_rotation(engine: Engine) -> None:
    """The addresses of an answer take turns at being first, over UDP and TCP."""
    for tcp in (False, True):
        data = query(1, f"db.{S}", 1)
        firsts = [records(reply_to(engine, data, tcp=tcp).rr)[0][3] for _ in range(6)]
        assert firsts == ["127.244.1.7", "127.244.2.7", "127.244.1.9"] * 2


def test_no_rotation_without_loadbalance(zone: Zone) -> None:
    """Without the loadbalance plugin the order is fixed."""
    engine = engine_of(zone, ".:53 {\n kubernetes cluster.local\n}")
    firsts = {records(reply_to(engine, query(1, f"db.{S}", 1)).rr)[0][3] for _ in range(4)}
    assert firsts == {"127.244.1.7"}


def many(count: int) -> Zone:
    service = {"metadata": {"name": "big", "namespace": "shop"}, "spec": {"clusterIP": "None", "ports": []}}
    slice_ = {
        "metadata": {"name": "big-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "big"}},
        "endpoints": [{"addresses": [f"127.244.{i // 250}.{i % 250 + 1}"]} for i in range(count)],
        "ports": [{"name": "http", "port": 80}],
    }
    return Zone.compile([service], [slice_], [{"metadata": {"name": "shop"}}])


@pytest.mark.parametrize(
    ("edns", "most"), [(0, 512), (512, 512), (1232, 1232), (1400, 1232), (4096, 4096), (65535, 4096)]
)
def test_truncation(edns: int, most: int) -> None:
    """A UDP reply holds what fits the client's size, says TC, and every address gets its turn; TCP has all."""
    engine = engine_of(many(300))
    data = query(7, f"big.{S}", 1, edns=edns)
    seen: set[bytes] = set()
    for _ in range(300):
        found = engine.fast(data)
        reply = found[0] if found else engine.slow(data, "", tcp=False).reply  # type: ignore[union-attr]
        assert len(reply) <= most
        assert header(reply).truncated
        assert len(reply) > most - 60  # full
        first = next(rr for rr in wire_records(reply))
        seen.add(reply[first.start : first.end])
    assert len(seen) == 300
    whole = reply_to(engine, data, tcp=True)
    assert (len(records(whole.rr)), whole.header.tc) == (300, 0)


def test_left_out_additional_is_not_truncation() -> None:
    """SRV records that fit without their targets' addresses don't set TC (RFC 2181 §9)."""
    parsed = reply_to(engine_of(many(9)), query(7, f"big.{S}", 33))
    assert (len(parsed.rr), parsed.header.tc) == (9, 0)
    assert len(parsed.ar) < 9


def test_flood_of_spellings_and_cookies(engine: Engine) -> None:
    """Random case and cookies make no entries of their own."""
    chance = random.Random(1)
    for _ in range(2000):
        name = "".join(chance.choice((c.lower(), c.upper())) for c in f"web.{S}")
        cookie = chance.randbytes(8)
        plain = query(chance.getrandbits(16), name, 1)
        opt = b"\0\0\x29" + struct.pack("!HIHHH", 1232, 0, 12, 10, 8) + cookie
        data = plain[:10] + b"\0\1" + plain[12:] + opt
        if engine.fast(data) is None:
            engine.slow(data, "127.0.0.1", tcp=False)
    assert len(engine.cache) == 1


def test_flood_of_names_evicts_only_the_unasked(engine: Engine) -> None:
    """The cache is bounded, and what is asked for all the time stays in it."""
    wanted = query(1, f"web.{S}", 1)
    engine.slow(wanted, "", tcp=False)
    for i in range(9_000):
        data = query(1, f"n{i}.{S}", 1)
        if engine.fast(data) is None:
            engine.slow(data, "", tcp=False)
        if i % 100 == 0:
            assert engine.fast(wanted) is not None
    assert len(engine.cache) <= 8192 + 1


def test_a_change_ends_finished_answers(zone: Zone) -> None:
    """After a change of the cluster no finished answer from before is given."""
    source = SimpleNamespace(zone=zone)
    engine = engine_of(zone)
    engine._source = source
    data = query(1, f"web.{S}", 1)
    engine.slow(data, "", tcp=False)
    assert engine.fast(data) is not None
    source.zone = zone.with_changes(services={next(iter(zone.services)): None})
    assert engine.fast(data) is None
    assert reply_to(engine, data).header.rcode == 3


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        pytest.param(query(9, f"web.{S}", 252), 5, id="AXFR is refused"),
        pytest.param(query(9, f"web.{S}", 251), 5, id="IXFR is refused"),
        pytest.param(query(9, "version.bind.", 16)[:-1] + b"\3", 5, id="class CH is refused"),
        pytest.param(b"\0\1\x08\0" + query(9, f"web.{S}", 1)[4:], 4, id="STATUS is not implemented"),
        pytest.param(b"\0\1\x28\0" + query(9, f"web.{S}", 1)[4:], 4, id="UPDATE is not implemented"),
        pytest.param(query(9, f"web.{S}", 1)[:-3], 1, id="a question cut short"),
        pytest.param(b"\0\1\1\0\0\2\0\0\0\0\0\0" + query(9, "a.", 1)[12:] * 2, 1, id="two questions"),
        pytest.param(b"\0\1\1\0" + bytes(8), 1, id="no question"),
        pytest.param(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 1, id="a name that points at itself"),
        pytest.param(query(9, f"web.{S}", 1, edns=512) + b"", 0, id="a small EDNS size"),
    ],
)
def test_rules_of_acceptance(engine: Engine, data: bytes, rcode: int) -> None:
    """Each malformed or unwanted query gets its rcode, and the id back."""
    done = engine.slow(data, "127.0.0.1", tcp=False)
    reply = done.reply if isinstance(done, Finished) else done
    assert isinstance(reply, bytes)
    assert (reply[:2], reply[2] & 0x80, reply[3] & 15) == (data[:2], 0x80, rcode)


def test_edns_version(engine: Engine) -> None:
    """EDNS 1 is BADVERS, in the OPT record's extended rcode."""
    data = bytearray(query(9, f"web.{S}", 1, edns=1232))
    data[-5] = 1
    reply = engine.slow(bytes(data), "", tcp=False)
    assert isinstance(reply, bytes)
    parsed = dnslib.DNSRecord.parse(reply)
    assert (parsed.header.rcode, parsed.ar[0].edns_ext_rcode if hasattr(parsed.ar[0], "edns_ext_rcode") else 1) == (
        0,
        1,
    )


def test_replies_are_dropped(engine: Engine) -> None:
    """A datagram that is itself a reply, or too short for one, gets no answer."""
    assert engine.slow(b"\0\1\x80\0" + query(9, "a.", 1)[4:], "", tcp=False) is None
    assert engine.slow(b"\0\1\1", "", tcp=False) is None


def test_name_outside_all_blocks_is_refused(zone: Zone) -> None:
    """A server that serves only some zones refuses the rest."""
    engine = engine_of(zone, "cluster.local:53 {\n kubernetes\n}")
    assert reply_to(engine, query(1, f"web.{S}", 1)).header.rcode == 0
    assert reply_to(engine, query(1, "example.com.", 1)).header.rcode == 5


@given(st.binary(max_size=120))
@example(b"")
@example(query(1, f"web.{S}", 1, edns=1232))
def test_any_datagram(data: bytes) -> None:
    """No bytes raise; what is answered begins with the id and says that it is a reply."""
    _feed(data)


@given(st.data())
def test_damaged_queries(data: st.DataObject) -> None:
    """Ordinary queries with bytes changed, cut or appended don't raise either."""
    good = bytearray(query(4660, data.draw(NAMES), data.draw(st.integers(0, 65535)), edns=1232))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    _feed(bytes(good[:cut]) if data.draw(st.booleans()) else bytes(good) + data.draw(st.binary(max_size=8)))


def _feed(data: bytes) -> None:
    engine = engine_of(_ZONE)
    for _ in range(2):
        for tcp in (False, True):
            fast = engine.fast(data, tcp=tcp)
            done = engine.slow(data, "127.0.0.1", tcp=tcp)
            reply = fast[0] if fast else done.reply if isinstance(done, Finished) else done
            assert isinstance(reply, bytes | Pending | None)
            if isinstance(reply, bytes):
                assert reply[:2] == data[:2]
                assert reply[2] & 0x80
                assert all(rr.end <= len(reply) for rr in wire_records(reply))
