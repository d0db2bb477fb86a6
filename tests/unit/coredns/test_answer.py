"""The cluster's answers, as zone-file text, and against an oracle written from the specification."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.coredns.answer import Options, answer, reverse_address
from minikube_py.coredns.message import Answer, Question
from minikube_py.coredns.zone import Zone

OPTIONS = Options(("cluster.local.", "in-addr.arpa.", "ip6.arpa."), pods="insecure", ttl=30, addresses=("127.244.0.2",))
S = "shop.svc.cluster.local."
SOA = "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 30"


def ask(zone: Zone, name: str, type_: str, **changes: object) -> Answer:
    found = answer(Question(name, type_), zone, replace(OPTIONS, **changes))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "type_", "records"),
    [
        pytest.param(f"web.{S}", "A", [f"web.{S} 30 IN A 127.96.1.1"], id="a ClusterIP"),
        pytest.param(f"dual.{S}", "AAAA", [f"dual.{S} 30 IN AAAA fd00::2"], id="an IPv6 ClusterIP"),
        pytest.param(
            f"db.{S}",
            "A",
            [f"db.{S} 30 IN A 127.244.1.7", f"db.{S} 30 IN A 127.244.2.7", f"db.{S} 30 IN A 127.244.1.9"],
            id="every ready endpoint of a headless Service",
        ),
        pytest.param(f"db-0.db.{S}", "A", [f"db-0.db.{S} 30 IN A 127.244.1.7"], id="an endpoint's hostname"),
        pytest.param(
            f"127-244-1-9.db.{S}", "A", [f"127-244-1-9.db.{S} 30 IN A 127.244.1.9"], id="an endpoint without hostname"
        ),
        pytest.param(
            f"127-244-1-5.web.{S}",
            "A",
            [f"127-244-1-5.web.{S} 30 IN A 127.244.1.5"],
            id="an endpoint of a ClusterIP Service",
        ),
        pytest.param(f"portless.{S}", "A", [f"portless.{S} 30 IN A 127.244.3.3"], id="headless without ports"),
        pytest.param(
            f"_http._tcp.web.{S}", "SRV", [f"_http._tcp.web.{S} 30 IN SRV 0 100 80 web.{S}"], id="SRV of one port"
        ),
        pytest.param(
            f"web.{S}",
            "SRV",
            [f"web.{S} 30 IN SRV 0 50 80 web.{S}", f"web.{S} 30 IN SRV 0 50 9090 web.{S}"],
            id="SRV of every port shares the weight",
        ),
        pytest.param(
            f"_pg._tcp.db.{S}",
            "SRV",
            [
                f"_pg._tcp.db.{S} 30 IN SRV 0 33 5432 db-0.db.{S}",
                f"_pg._tcp.db.{S} 30 IN SRV 0 33 5432 db-1.db.{S}",
                f"_pg._tcp.db.{S} 30 IN SRV 0 33 5432 127-244-1-9.db.{S}",
            ],
            id="SRV of headless endpoints",
        ),
        pytest.param(
            "1.1.96.127.in-addr.arpa.", "PTR", [f"1.1.96.127.in-addr.arpa. 30 IN PTR web.{S}"], id="PTR of a ClusterIP"
        ),
        pytest.param(
            "7.1.244.127.in-addr.arpa.",
            "PTR",
            [f"7.1.244.127.in-addr.arpa. 30 IN PTR db-0.db.{S}"],
            id="PTR of an endpoint",
        ),
        pytest.param(
            "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            "PTR",
            [f"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 30 IN PTR dual.{S}"],
            id="PTR of an IPv6 address",
        ),
        pytest.param(
            "dns-version.cluster.local.",
            "TXT",
            ['dns-version.cluster.local. 28800 IN TXT "1.1.0"'],
            id="the schema's version",
        ),
        pytest.param("cluster.local.", "SOA", [SOA], id="SOA of the zone"),
        pytest.param("cluster.local.", "NS", ["cluster.local. 30 IN NS ns.dns.cluster.local."], id="NS of the zone"),
        pytest.param(
            "ns.dns.cluster.local.", "A", ["ns.dns.cluster.local. 30 IN A 127.96.0.10"], id="the nameserver is kube-dns"
        ),
        pytest.param(f"outside.{S}", "CNAME", [f"outside.{S} 30 IN CNAME db.example.com."], id="an ExternalName"),
        pytest.param(
            f"inside.{S}",
            "A",
            [f"inside.{S} 30 IN CNAME web.{S}", f"web.{S} 30 IN A 127.96.1.1"],
            id="an ExternalName into the cluster is followed",
        ),
        pytest.param(
            "10-1-2-3.shop.pod.cluster.local.",
            "A",
            ["10-1-2-3.shop.pod.cluster.local. 30 IN A 10.1.2.3"],
            id="a pod record, unchecked",
        ),
        pytest.param(
            "fd00--7.shop.pod.cluster.local.",
            "AAAA",
            ["fd00--7.shop.pod.cluster.local. 30 IN AAAA fd00::7"],
            id="an IPv6 pod record",
        ),
        pytest.param(
            f"_http._tcp.web.{S}", "A", [f"_http._tcp.web.{S} 30 IN A 127.96.1.1"], id="A under a port's name"
        ),
    ],
)
def test_records(zone: Zone, name: str, type_: str, records: list[str]) -> None:
    """Each record of the specification is answered, authoritatively, with the Corefile's TTL."""
    found = ask(zone, name, type_)
    assert (found.rcode, found.authoritative) == ("NOERROR", True)
    assert [str(record) for record in found.answer] == records


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        pytest.param(f"web.{S}", "AAAA", id="IPv4 Service asked for IPv6"),
        pytest.param(f"db.{S}", "AAAA", id="headless with IPv4 endpoints only"),
        pytest.param(f"web.{S}", "MX", id="a type that Services don't have"),
        pytest.param(f"web.{S}", "SOA", id="SOA below the apex"),
        pytest.param(f"web.{S}", "CNAME", id="CNAME of a ClusterIP Service"),
        pytest.param(f"web.{S}", "ANY", id="ANY"),
        pytest.param(f"outside.{S}", "SRV", id="SRV of an ExternalName"),
        pytest.param(f"portless.{S}", "SRV", id="SRV without ports"),
        pytest.param(f"loop-a.{S}", "A", id="ExternalNames in a circle"),
        pytest.param("cluster.local.", "A", id="the apex"),
        pytest.param("svc.cluster.local.", "A", id="empty non-terminal svc"),
        pytest.param("pod.cluster.local.", "NS", id="empty non-terminal pod"),
        pytest.param("shop.svc.cluster.local.", "A", id="an existing namespace"),
        pytest.param("empty.svc.cluster.local.", "A", id="a namespace without Services"),
        pytest.param("shop.pod.cluster.local.", "A", id="an existing namespace's pods"),
        pytest.param("dns.cluster.local.", "A", id="empty non-terminal dns"),
        pytest.param("dns-version.cluster.local.", "A", id="the version has no address"),
        pytest.param("10-1-2-3.shop.pod.cluster.local.", "AAAA", id="IPv4 pod record asked for IPv6"),
    ],
)
def test_nodata(zone: Zone, name: str, type_: str) -> None:
    """A name that exists without such records is NOERROR with the zone's SOA."""
    found = ask(zone, name, type_)
    assert (found.rcode, found.answer, [str(r) for r in found.authority]) == ("NOERROR", (), [SOA])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"nobody.{S}", id="no such Service"),
        pytest.param("web.nowhere.svc.cluster.local.", id="no such namespace"),
        pytest.param("nowhere.svc.cluster.local.", id="the namespace itself"),
        pytest.param(f"waiting.{S}", id="headless without ready endpoints"),
        pytest.param(f"db-9.db.{S}", id="no such endpoint"),
        pytest.param(f"127-244-1-6.web.{S}", id="an endpoint that is not ready"),
        pytest.param(f"_ftp._tcp.web.{S}", id="no such port"),
        pytest.param(f"_http._udp.web.{S}", id="another protocol"),
        pytest.param(f"a.b.c.web.{S}", id="too many labels"),
        pytest.param(f"*.{S}", id="a wildcard Service"),
        pytest.param("web.*.svc.cluster.local.", id="a wildcard namespace"),
        pytest.param(f"*.db.{S}", id="a wildcard endpoint"),
        pytest.param(f"any.{S}", id="the wildcard word"),
        pytest.param(f"x.outside.{S}", id="below an ExternalName"),
        pytest.param(f"x.y.outside.{S}", id="two below an ExternalName"),
        pytest.param("foo.cluster.local.", id="neither svc nor pod"),
        pytest.param("not-an-ip.shop.pod.cluster.local.", id="a pod record without an address"),
        pytest.param("300-1-2-3.shop.pod.cluster.local.", id="a pod record with an impossible address"),
        pytest.param("10-1-2-3.nowhere.pod.cluster.local.", id="a pod record in no namespace"),
        pytest.param("x.10-1-2-3.shop.pod.cluster.local.", id="below a pod record"),
    ],
)
@pytest.mark.parametrize("type_", ["A", "AAAA", "SRV", "TXT", "NS"])
def test_nxdomain(zone: Zone, name: str, type_: str) -> None:
    """A name that doesn't exist is NXDOMAIN with the zone's SOA, whatever the type."""
    found = ask(zone, name, type_)
    assert (found.rcode, found.answer, [str(r) for r in found.authority]) == ("NXDOMAIN", (), [SOA])


def test_additional_addresses_of_srv(zone: Zone) -> None:
    """An SRV answer brings the targets' addresses along."""
    found = ask(zone, f"_pg._tcp.db.{S}", "SRV")
    assert str(found.additional[0]) == f"db-0.db.{S} 30 IN A 127.244.1.7"
    assert len(found.additional) == 3


def test_ns_brings_its_address(zone: Zone) -> None:
    """The NS answer has the nameserver's address, and without a Service before CoreDNS that is its own."""
    assert [str(r) for r in ask(zone, "cluster.local.", "NS").additional] == [
        "ns.dns.cluster.local. 30 IN A 127.96.0.10"
    ]
    alone = ask(zone, "cluster.local.", "NS", addresses=("127.9.9.9",))
    assert [r.rdata for r in alone.additional] == ["127.9.9.9"]


def test_case_is_kept(zone: Zone) -> None:
    """Owner names are spelled as asked, targets as Kubernetes writes them, the zone as asked (0x20)."""
    found = ask(zone, "_HtTp._TcP.WeB.sHoP.SvC.cLuStEr.LoCaL.", "SRV")
    assert str(found.answer[0]) == (
        "_HtTp._TcP.WeB.sHoP.SvC.cLuStEr.LoCaL. 30 IN SRV 0 100 80 web.shop.svc.cLuStEr.LoCaL."
    )
    gone = ask(zone, "x.shop.svc.ClUsTeR.local.", "A")
    assert gone.authority[0].rdata.startswith("ns.dns.ClUsTeR.local. hostmaster.ClUsTeR.local.")


def test_external_name_outside_is_to_be_chased(zone: Zone) -> None:
    """A CNAME out of the zone comes with the name to resolve elsewhere."""
    found = ask(zone, f"outside.{S}", "A")
    assert ([str(r) for r in found.answer], found.chase) == (
        [f"outside.{S} 30 IN CNAME db.example.com."],
        "db.example.com.",
    )


def test_before_sync_is_servfail() -> None:
    """Until the API was read, nothing is denied: SERVFAIL."""
    assert ask(Zone(), f"web.{S}", "A").rcode == "SERVFAIL"


def test_pod_modes(zone: Zone) -> None:
    """`verified` vouches for living pods only, in their own namespace; `disabled` for none."""
    known, ended = "127-244-1-5.shop.pod.cluster.local.", "127-244-1-99.shop.pod.cluster.local."
    assert ask(zone, known, "A", pods="verified").rcode == "NOERROR"
    assert ask(zone, ended, "A", pods="verified").rcode == "NXDOMAIN"
    assert ask(zone, "127-244-1-5.empty.pod.cluster.local.", "A", pods="verified").rcode == "NXDOMAIN"
    assert ask(zone, known, "A", pods="disabled").rcode == "NXDOMAIN"


def test_options_narrow(zone: Zone) -> None:
    """namespaces, noendpoints, ignore empty_service and endpoint_pod_names do what CoreDNS' do."""
    assert ask(zone, f"web.{S}", "A", namespaces=frozenset({"empty"})).rcode == "NXDOMAIN"
    assert ask(zone, f"db.{S}", "A", no_endpoints=True).rcode == "NXDOMAIN"
    assert ask(zone, f"dual.{S}", "A", ignore_empty_service=True).rcode == "NXDOMAIN"
    assert ask(zone, f"web.{S}", "A", ignore_empty_service=True).rcode == "NOERROR"
    assert ask(zone, f"db-x.db.{S}", "A", endpoint_pod_names=True).answer[0].rdata == "127.244.1.9"


def test_fallthrough(zone: Zone) -> None:
    """NXDOMAIN in a fallthrough zone, and any name outside the zones, is somebody else's to answer."""
    falling = replace(OPTIONS, fallthrough=("in-addr.arpa.",))
    assert answer(Question("9.9.9.127.in-addr.arpa.", "PTR"), zone, falling) is None
    assert answer(Question(f"nobody.{S}", "A"), zone, falling) is not None
    assert answer(Question("example.com.", "A"), zone, falling) is None
    assert answer(Question("notcluster.local.", "A"), zone, falling) is None


def test_another_domain(zone: Zone) -> None:
    """The cluster domain is whatever the Corefile says."""
    found = ask(zone, "web.shop.svc.corp.test.", "A", zones=("corp.test.",))
    assert found.answer[0].rdata == "127.96.1.1"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.1.in-addr.arpa.", "1.2.3.4"),
        ("4.3.2.1.IN-ADDR.ARPA.", "1.2.3.4"),
        ("3.2.1.in-addr.arpa.", None),
        ("5.4.3.2.1.in-addr.arpa.", None),
        ("x.3.2.1.in-addr.arpa.", None),
        ("1.ip6.arpa.", None),
        ("example.com.", None),
    ],
)
def test_reverse_address(name: str, address: str | None) -> None:
    """Only a whole reversed address is one."""
    assert reverse_address(name) == address


# -- the oracle: every record that exists, listed as the specification writes it, then looked through ----------------

Table = dict[tuple[str, str], set[str]]


def listed(services: list[dict[str, object]], namespaces: set[str]) -> Table:
    """List every record (name, type) → data of a model cluster, from the text of the specification."""
    table: Table = {("cluster.local.", "SOA"): {"soa"}, ("dns-version.cluster.local.", "TXT"): {'"1.1.0"'}}

    def add(name: str, type_: str, data: str) -> None:
        table.setdefault((name.lower(), type_), set()).add(data)

    for one in services:
        ns, name, ports = one["namespace"], one["name"], one["ports"]
        if ns not in namespaces:
            continue
        full = f"{name}.{ns}.svc.cluster.local."
        if one["ip"]:
            add(full, "A", str(one["ip"]))
        named = [("", full)] if one["ip"] else []
        for address, hostname, ready in one["endpoints"]:  # type: ignore[attr-defined]
            if not ready:
                continue
            own = f"{hostname or address.replace('.', '-')}.{full}"
            add(own, "A", address)
            if not one["ip"]:
                add(full, "A", address)
                named.append((address, own))
        for port, number, protocol in ports:  # type: ignore[attr-defined]
            for address, target in named:
                if port:
                    add(f"_{port}._{protocol.lower()}.{full}", "SRV", f"{number} {target}")
                    add(f"_{port}._{protocol.lower()}.{full}", "A", address or str(one["ip"]))
                add(full, "SRV", f"{number} {target}")
                if address:
                    add(target, "SRV", f"{number} {target}")
            if one["ip"]:
                for address, hostname, ready in one["endpoints"]:  # type: ignore[attr-defined]
                    own = f"{hostname or address.replace('.', '-')}.{full}"
                    if ready:
                        add(own, "SRV", f"{number} {own}")
    return table


def expected(table: Table, namespaces: set[str], name: str, type_: str) -> tuple[str, set[str]]:
    name = name.lower()
    found = {data for (owner, kind), records in table.items() if (owner, kind) == (name, type_) for data in records}
    if found:
        return "NOERROR", found
    exists = any(owner == name for owner, _ in table)
    parents = {"cluster.local.", "svc.cluster.local.", "pod.cluster.local."}
    parents |= {f"{ns}.{kind}.cluster.local." for ns in namespaces for kind in ("svc", "pod")}
    return ("NOERROR" if exists or name in parents else "NXDOMAIN"), set()


LABELS = ["a", "b", "web", "db-0", "x-1"]
ADDRESSES = [f"127.244.0.{i}" for i in range(1, 6)]
SERVICE = st.fixed_dictionaries(
    {
        "name": st.sampled_from(LABELS),
        "namespace": st.sampled_from(["one", "two", "three"]),
        "ip": st.sampled_from(["", "127.96.0.1", "127.96.0.2"]),
        "ports": st.lists(
            st.tuples(st.sampled_from(["", "http", "dns"]), st.integers(1, 3), st.sampled_from(["TCP", "UDP"])),
            unique_by=lambda port: (port[0], port[2]),
            min_size=1,
            max_size=3,
        ),
        "endpoints": st.lists(
            st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(["", "db-0", "db-1"]), st.booleans()),
            unique_by=lambda endpoint: endpoint[0],
            max_size=4,
        ),
    }
)


@given(
    services=st.lists(SERVICE, unique_by=lambda one: (one["name"], one["namespace"]), max_size=4),
    seed=st.integers(0, 2**32),
)
def test_agrees_with_the_specification(services: list[dict[str, object]], seed: int) -> None:
    """For any cluster and any question, the answer is what a search through all specified records finds."""
    chance = random.Random(seed)
    namespaces = {"one", "two"}
    objects = [
        {
            "metadata": {"name": one["name"], "namespace": one["namespace"]},
            "spec": {
                "clusterIP": one["ip"] or "None",
                "ports": [{"name": n, "port": p, "protocol": proto} for n, p, proto in one["ports"]],  # type: ignore[attr-defined]
            },
        }
        for one in services
    ]
    slices = [
        {
            "metadata": {
                "name": f"{one['name']}-1",
                "namespace": one["namespace"],
                "labels": {"kubernetes.io/service-name": one["name"]},
            },
            "addressType": "IPv4",
            "ports": [{"name": n, "port": p, "protocol": proto} for n, p, proto in one["ports"]],  # type: ignore[attr-defined]
            "endpoints": [
                {"addresses": [address], "hostname": hostname, "conditions": {"ready": ready}}
                for address, hostname, ready in one["endpoints"]  # type: ignore[attr-defined]
            ],
        }
        for one in services
    ]
    zone = Zone.compile(objects, slices, [{"metadata": {"name": name}} for name in namespaces])
    table = listed(services, namespaces)
    names = [owner for owner, _ in table]
    names += [name.partition(".")[2] for name in names]
    names += [f"{chance.choice(LABELS)}.{name}" for name in names]
    names += [f"{ns}.svc.cluster.local." for ns in ("one", "two", "three")]
    for name in chance.sample(names, min(len(names), 25)):
        if not name.endswith("cluster.local."):
            continue
        spelled = "".join(chance.choice((char.lower(), char.upper())) for char in name)
        for type_ in ("A", "AAAA", "SRV", "MX"):
            found = answer(Question(spelled, type_), zone, Options(ttl=30))
            assert found is not None
            data = {" ".join(r.rdata.split()[2:]).lower() if type_ == "SRV" else r.rdata for r in found.answer}
            assert (found.rcode, data) == expected(table, namespaces, name, type_), (spelled, type_)
            assert all(record.name == spelled for record in found.answer)
