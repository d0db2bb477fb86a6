"""The query log, the metrics and the cache of upstream answers."""

import dnslib
import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.cni.dnswire import header, query
from minikube_py.coredns.fastpath import opt_record
from minikube_py.coredns.forwarded import ForwardCache, fit, lifetime, read_answer
from minikube_py.coredns.message import Question
from minikube_py.coredns.metrics import Metrics
from minikube_py.coredns.plugins.plugin import CacheRule, LogRule
from minikube_py.coredns.plugins.settings import COMBINED, COMMON
from minikube_py.coredns.querylog import QueryLog, ReplyInfo, formats_for, line

INFO = ReplyInfo(
    Question("Web.shop.svc.cluster.local.", "A"), "NOERROR", 0x8500, 88, (COMMON,), ".", "kubernetes", "udp"
)
CLIENT = ("127.244.1.5", 40000)


def test_formats() -> None:
    """Lines are written as CoreDNS writes them, with custom formats too."""
    data = query(29008, "Web.shop.svc.cluster.local.", 1, edns=4096)
    assert line(COMMON, CLIENT, data, INFO, 0.000123) == (
        '[INFO] 127.244.1.5:40000 - 29008 "A IN web.shop.svc.cluster.local. udp 55 false 4096" '
        "NOERROR qr,aa,rd 88 0.000123000s"
    )
    assert " - 29008 0 " in line(COMBINED, CLIENT, data, INFO, 0.0)
    assert line("{name} {rcode} {what}", CLIENT, data, INFO, 0.0) == "[INFO] web.shop.svc.cluster.local. NOERROR -"


@pytest.mark.parametrize(
    ("classes", "rcode", "answers", "logged"),
    [
        ({"all"}, "NOERROR", 1, True),
        ({"denial"}, "NXDOMAIN", 0, True),
        ({"denial"}, "NOERROR", 0, True),
        ({"denial"}, "NOERROR", 1, False),
        ({"success"}, "NOERROR", 1, True),
        ({"error"}, "SERVFAIL", 0, True),
        ({"success", "denial"}, "REFUSED", 0, False),
    ],
)
def test_classes(classes: set[str], rcode: str, answers: int, logged: bool) -> None:
    """A rule's classes choose what is logged, its names for whom."""
    rules = [LogRule((".",), COMMON, frozenset(classes)), LogRule(("corp.test.",), COMBINED)]
    assert formats_for(rules, INFO.question, rcode, answers) == ((COMMON,) if logged else ())


async def test_flood() -> None:
    """More than 10,000 queries in a second are counted instead of written, and the count is written."""
    clock = VirtualClock()
    written: list[str] = []
    log = QueryLog(written.append, clock)
    data = query(1, "a.", 1)
    for _ in range(25_000):
        log.add(CLIENT, data, INFO, 0.0)
    await clock.advance(0.1)
    await clock.advance(2.0)
    lines = "".join(written).splitlines()
    assert len(lines) == 10_001
    assert lines[-1] == "[WARNING] plugin/log: 15000 more queries came than are written in a second"
    log.add(CLIENT, data, INFO, 0.0)
    log.close()
    assert len("".join(written).splitlines()) == 10_002


def test_metrics() -> None:
    """Histograms add up: every bucket holds those before it, the last one all."""
    metrics = Metrics("dns://:53")
    metrics.add(INFO, 5, 0.0005)
    metrics.add(INFO._replace(rcode="NXDOMAIN", size=700), 1, 0.4)
    metrics.slow(INFO, 0.4)
    text = metrics.text({"coredns_panics_total": 0}, [(".", "log")])
    values = {key: value for key, _, value in (row.rpartition(" ") for row in text.splitlines() if row[0] != "#")}
    labels = 'server="dns://:53",type="A",view="",zone="."'
    name = "coredns_dns_request_duration_seconds"
    assert values[f'{name}_bucket{{{labels},le="0.00025"}}'] == "5"
    assert values[f'{name}_bucket{{{labels},le="0.512"}}'] == "6"
    assert values[f'{name}_bucket{{{labels},le="+Inf"}}'] == values[f"{name}_count{{{labels}}}"] == "6"
    sizes = 'coredns_dns_response_size_bytes_bucket{proto="udp",server="dns://:53",view="",zone="."'
    assert (values[f'{sizes},le="100"}}'], values[f'{sizes},le="1023"}}']) == ("5", "6")


def reply(*lines: str, authority: str = "", rcode: int = 0, edns: bool = False) -> bytes:
    record = dnslib.DNSRecord(
        dnslib.DNSHeader(id=1, qr=1, rd=1, ra=1, rcode=rcode), q=dnslib.DNSQuestion("example.com")
    )
    for text in lines:
        record.add_answer(*dnslib.RR.fromZone(text))
    if authority:
        record.add_auth(*dnslib.RR.fromZone(authority))
    if edns:
        record.add_ar(dnslib.EDNS0(udp_len=4096))
    return bytes(record.pack())


SOA = "com. 900 IN SOA a.gtld. n.gtld. 1 1800 900 604800 60"
RULE = CacheRule((".",), success=30, denial=20)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        pytest.param(reply("example.com. 300 IN A 192.0.2.1"), 30, id="no longer than the rule"),
        pytest.param(
            reply("example.com. 300 IN CNAME a.test.", "a.test. 7 IN A 192.0.2.1"), 7, id="no longer than any TTL"
        ),
        pytest.param(reply(rcode=3, authority=SOA), 20, id="NXDOMAIN by the rule"),
        pytest.param(reply(authority=SOA.replace(" 60", " 5")), 5, id="NODATA by the SOA's minimum"),
        pytest.param(reply(rcode=3), 0, id="NXDOMAIN without SOA"),
        pytest.param(reply(rcode=2), 0, id="SERVFAIL"),
    ],
)
def test_lifetime(message: bytes, seconds: int) -> None:
    """A reply is kept as RFC 2308 and the Corefile say."""
    assert lifetime(Question("example.com.", "A"), message, RULE) == seconds


def test_cache_ages() -> None:
    """What is kept comes with its age, goes when its time is up, and the longest unused goes first."""
    cache = ForwardCache()
    message = reply("example.com. 300 IN A 192.0.2.1")
    cache.put(Question("Example.com.", "A"), False, message, RULE, 100.0)
    assert cache.get(Question("example.COM.", "A"), False, 112.5) == (message, 12)
    assert cache.get(Question("example.com.", "A"), True, 101.0) is None
    assert cache.get(Question("example.com.", "A"), False, 130.0) is None
    small = CacheRule((".",), capacity=2)
    for name in ("a.", "b.", "c."):
        cache.put(Question(name, "A"), False, message, small, 0.0)
    assert (len(cache), cache.get(Question("a.", "A"), False, 0.0)) == (2, None)


def test_fit() -> None:
    """A kept reply becomes this client's: id, spelling, flags, age, size, OPT."""
    message = reply(*(f"example.com. 300 IN A 192.0.2.{i}" for i in range(1, 41)), edns=True)
    asked = query(77, "eXample.com.", 1, recursion=False)
    plain = fit(message, asked, opt=None, limit=65535, age=100)
    parsed = dnslib.DNSRecord.parse(plain)
    assert (parsed.header.id, str(parsed.q.qname), parsed.header.rd) == (77, "eXample.com.", 0)
    assert (len(parsed.rr), parsed.rr[0].ttl, len(parsed.ar)) == (40, 200, 0)
    small = fit(message, asked, opt=opt_record(do=False), limit=512)
    assert len(small) <= 512
    assert header(small).truncated
    assert dnslib.DNSRecord.parse(small).ar[0].rtype == 41


def test_read_answer() -> None:
    """An upstream's reply becomes records as a zone file writes them."""
    found = read_answer(reply("example.com. 9 IN MX 10 mail.example.com.", authority=SOA, edns=True))
    assert [str(record) for record in found.answer] == ["example.com. 9 IN MX 10 mail.example.com."]
    assert (found.authority[0].type, found.additional, found.authoritative) == ("SOA", (), False)
