"""A pod's resolv.conf and hosts file, and the names that a lookup tries."""
# ruff: noqa: E501 - what a name costs is read on one line

import pytest

from minikube_py.cni.resolvconf import ResolvConf, candidates, hosts_text, parse_hosts, pod_resolv_conf, queries

POD = ResolvConf(("127.96.0.10",), ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"), ("ndots:5",))


def test_text_and_back() -> None:
    """The file reads as the kubelet writes it, and reading it gives the same value."""
    assert POD.text() == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.96.0.10\noptions ndots:5\n"
    )
    assert ResolvConf.parse(POD.text()) == POD


def test_parse_as_glibc() -> None:
    """Comments are skipped, the last search or domain wins, options add up and are capped."""
    conf = ResolvConf.parse(
        "# x\n; y\nnameserver 1.1.1.1\ndomain a.\nsearch b c.\noptions ndots:99 timeout:1\noptions attempts:9 rotate\n"
    )
    assert (conf.nameservers, conf.search) == (("1.1.1.1",), ("b", "c"))
    assert (conf.ndots, conf.timeout, conf.attempts) == (15, 1, 5)
    assert (ResolvConf().ndots, ResolvConf().timeout, ResolvConf().attempts) == (1, 5, 2)


def test_waits() -> None:
    """The waits for one and for three nameservers are glibc's: 5; 5, 3, 6 seconds."""
    assert ResolvConf(("a",)).wait(0) == 5
    assert [ResolvConf(("a", "b", "c")).wait(i) for i in range(3)] == [5, 3, 6]


@pytest.mark.parametrize(
    ("name", "tried"),
    [
        pytest.param(
            "web",
            ["web.shop.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web."],
            id="a short name: the search list, then as it is",
        ),
        pytest.param("web.", ["web."], id="a trailing dot: only itself"),
        pytest.param(
            "a.b.c.d.e.f",
            ["a.b.c.d.e.f.", "a.b.c.d.e.f.shop.svc.cluster.local.", "a.b.c.d.e.f.svc.cluster.local.", "a.b.c.d.e.f.cluster.local."],
            id="ndots dots: itself first",
        ),
        pytest.param(
            "example.com",
            ["example.com.shop.svc.cluster.local.", "example.com.svc.cluster.local.", "example.com.cluster.local.", "example.com."],
            id="an outside name tries the cluster first",
        ),
    ],
)  # fmt: skip
def test_candidates(name: str, tried: list[str]) -> None:
    """The names tried, in glibc's order."""
    assert candidates(name, POD) == tried


def test_what_a_name_costs() -> None:
    """ndots:5 makes an outside name cost eight queries, and a trailing dot saves six of them."""
    assert len(queries("example.com", POD)) == 8
    assert queries("example.com.", POD) == [("example.com.", "A"), ("example.com.", "AAAA")]


HOST = ResolvConf(("192.0.2.1",), ("corp.example",), ("rotate",))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {},
            ResolvConf(("127.96.0.10",), (*POD.search, "corp.example"), ("ndots:5",)),
            id="ClusterFirst is the default, the host's search comes last",
        ),
        pytest.param({"dnsPolicy": "Default"}, HOST, id="Default is the node's own"),
        pytest.param({"hostNetwork": True}, HOST, id="ClusterFirst on the host network is Default"),
        pytest.param(
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            ResolvConf(("127.96.0.10",), (*POD.search, "corp.example"), ("ndots:5",)),
            id="ClusterFirstWithHostNet",
        ),
        pytest.param({"dnsPolicy": "None"}, ResolvConf(), id="None is empty"),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["192.0.2.9"],
                    "searches": ["a.test"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            ResolvConf(("192.0.2.9",), ("a.test",), ("ndots:2", "edns0")),
            id="None with dnsConfig",
        ),
        pytest.param(
            {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}], "searches": ["svc.cluster.local", "x.test"]}},
            ResolvConf(("127.96.0.10",), (*POD.search, "corp.example", "x.test"), ("ndots:1",)),
            id="dnsConfig overrides options and adds searches once",
        ),
    ],
)
def test_dns_policy(spec: dict[str, object], expected: ResolvConf) -> None:
    """A pod's resolv.conf follows from dnsPolicy, hostNetwork and dnsConfig."""
    assert pod_resolv_conf(spec, "shop", cluster_dns="127.96.0.10", host=HOST) == expected


def test_limits() -> None:
    """Three nameservers, 32 search domains, 2048 characters."""
    config = {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3"], "searches": [f"d{i}.test" for i in range(40)]}
    conf = pod_resolv_conf({"dnsConfig": config}, "shop", cluster_dns="127.96.0.10")
    assert (len(conf.nameservers), len(conf.search)) == (3, 32)
    config = {"searches": [("x" * 60 + ".") * 3 + str(i) for i in range(30)]}
    conf = pod_resolv_conf({"dnsConfig": config}, "shop", cluster_dns="127.96.0.10")
    assert len(" ".join(conf.search)) <= 2048


def test_hosts_file() -> None:
    """The kubelet's hosts file is understood as libc does."""
    text = hosts_text(
        "127.244.1.5", "db-0", "db-0.db.shop.svc.cluster.local", [{"ip": "10.0.0.1", "hostnames": ["a.test", "B.test"]}]
    )
    assert "127.244.1.5\tdb-0.db.shop.svc.cluster.local\tdb-0\n" in text
    hosts = parse_hosts(text)
    assert hosts["db-0"] == ("127.244.1.5",)
    assert hosts["b.test"] == ("10.0.0.1",)
    assert hosts["localhost"] == ("127.0.0.1", "::1")
