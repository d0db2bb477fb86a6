"""The Corefile and its plugins: what is read, what is refused and where, and what the chain then answers."""
# ruff: noqa: E501 - a Corefile and the message about it stand on one line, so that the table can be read

import dnslib
import pytest

from minikube_py.coredns.corefile import CorefileError, default_corefile, parse
from minikube_py.coredns.message import Answer, Question, Record
from minikube_py.coredns.plugins import Block, Context, Forward, Outcome, Query, build, chain
from minikube_py.coredns.plugins.plugin import Upstream
from minikube_py.coredns.plugins.template import parse_record
from minikube_py.coredns.zone import Zone


def block(body: str, **context: object) -> Block:
    (parsed,) = parse(f".:53 {{\n{body}\n}}")
    return build(parsed, Context(**context))  # type: ignore[arg-type]


def ask(zone: Zone, body: str, name: str, type_: str = "A", **context: object) -> Outcome:
    return chain(block(body, **context).steps)(Query(Question(name, type_), zone, "127.244.1.5"))


def text(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Answer)
    return [str(record) for record in outcome.answer]


def test_default_corefile() -> None:
    """kubeadm's Corefile, with queries logged, is understood whole."""
    (parsed,) = parse(default_corefile("corp.test"))
    built = build(parsed, Context())
    assert built.enabled == [
        "reload", "ready", "health", "prometheus", "errors", "log", "loadbalance", "cache", "kubernetes", "loop", "forward",
    ]  # fmt: skip
    assert (built.port, built.zones, built.metrics, built.health, built.ready) == (
        53, (".",), ("", 9153), ("", 8080), ("", 8181),
    )  # fmt: skip
    assert built.cache is not None
    assert built.cache.no_success == ("corp.test.",)


@pytest.mark.parametrize(
    ("corefile", "message"),
    [
        (".:53 {\n    errors\n    kubernets cluster.local\n}", "Corefile:3 - Error during parsing: Unknown directive 'kubernets'; did you mean 'kubernetes'?"),
        (".:53 {\n    file db.example\n}", "Corefile:2 - Error during parsing: directive 'file' is not emulated"),
        (".:53 {\n    kubernetes cluster.local {\n        pods sometimes\n    }\n}", "Corefile:3 - Error during parsing: plugin/kubernetes: pods is one of"),
        (".:53 {\n    kubernetes cluster.local {\n        podz insecure\n    }\n}", "Corefile:3 - Error during parsing: plugin/kubernetes: unknown property 'podz'"),
        (".:53 {\n    kubernetes\n    kubernetes\n}", "Corefile:3 - Error during parsing: plugin/kubernetes: this plugin can only be used once"),
        (".:53 {\n    kubernetes cluster.local {\n        ttl 9999\n    }\n}", "Corefile:3 - Error during parsing: plugin/kubernetes: ttl must be in range"),
        (".:53 {\n    forward .\n}", "Corefile:2 - Error during parsing: plugin/forward: Wrong argument count"),
        (".:53 {\n    forward . tls://9.9.9.9\n}", "Corefile:2 - Error during parsing: plugin/forward: 'tls://9.9.9.9' is not an address"),
        (".:53 {\n    hosts {\n       not-an-ip name\n    }\n}", "Corefile:3 - Error during parsing: plugin/hosts: unknown property 'not-an-ip'"),
        (".:53 {\n    hosts /no/such\n}", "Corefile:2 - Error during parsing: plugin/hosts: open /no/such"),
        (".:53 {\n    rewrite name regex ( x\n}", "Corefile:2 - Error during parsing: plugin/rewrite: invalid regular expression"),
        (".:53 {\n    rewrite edns0 nsid set\n}", "Corefile:2 - Error during parsing: plugin/rewrite: 'edns0' is not emulated"),
        (".:53 {\n    template IN A {\n        answer \"{{ .Nope }} 1 IN A 1.2.3.4\"\n    }\n}", "Corefile:3 - Error during parsing: plugin/template: '{{ .Nope }}' is not emulated"),
        (".:53 {\n    log . {\n        class never\n    }\n}", "Corefile:3 - Error during parsing: plugin/log: class is one of"),
        (".:53 {\n    health {\n        lameduck soon\n    }\n}", "Corefile:3 - Error during parsing: lameduck: 'soon' is not a duration"),
        (".:53 {\n    errors", "Corefile:1 - Syntax error - this '{' is never closed"),
        ("errors", "Corefile:1 - Syntax error - expected '{'"),
        ("}", "Corefile:1 - Syntax error - '}'"),
        ("{\n}", "Corefile:1 - Syntax error - a server block needs a zone"),
        (".:53 {\n    log \"x\n}", "Corefile:2 - Syntax error - a quotation mark"),
        (".:53 {\n    import nothing\n}", "Corefile:2 - import: no snippet"),
        ("tls://.:853 {\n}", "Corefile:1 - 'tls://.:853': only plain DNS"),
        ("a:53 b:54 {\n}", "Corefile:1 - the names of one block have different ports"),
    ],
    ids=lambda value: value[-40:] if value.startswith("Corefile") else "",
)  # fmt: skip
def test_what_is_refused_names_its_line(corefile: str, message: str) -> None:
    """A Corefile that can't be served says which line is to blame, and for what."""
    with pytest.raises(CorefileError) as caught:
        _serve(corefile)
    assert str(caught.value).startswith(message)


def _serve(corefile: str) -> None:
    for parsed in parse(corefile):
        assert build(parsed, Context()).zones == parsed.zones


def test_snippets_comments_environment() -> None:
    """Snippets are imported, comments skipped, `{$NAME}` replaced, keys normalised."""
    (parsed,) = parse(
        "(common) {\n  errors\n}\n# all\nCorp.Test:5353 10.0.0.0/24 {\n  import common\n  log {$Z} # here\n}",
        {"Z": "a.b"},
    )
    assert parsed.zones == ("corp.test.", "0.0.10.in-addr.arpa.")
    assert (parsed.port, [d.name for d in parsed.directives], parsed.directives[1].args) == (
        5353,
        ["errors", "log"],
        ("a.b",),
    )


def test_hosts(zone: Zone) -> None:
    """Inline hosts answer A and PTR, NODATA for other types, and let other names fall through."""
    body = "hosts {\n 10.0.0.1 api.corp api\n fd00::1 api.corp\n ttl 60\n fallthrough\n}\nforward . 192.0.2.1"
    assert text(ask(zone, body, "API.corp.")) == ["API.corp. 60 IN A 10.0.0.1"]
    assert text(ask(zone, body, "api.corp.", "AAAA")) == ["api.corp. 60 IN AAAA fd00::1"]
    assert text(ask(zone, body, "1.0.0.10.in-addr.arpa.", "PTR")) == [
        "1.0.0.10.in-addr.arpa. 60 IN PTR api.corp.",
        "1.0.0.10.in-addr.arpa. 60 IN PTR api.",
    ]
    nodata = ask(zone, body, "api.corp.", "TXT")
    assert isinstance(nodata, Answer)
    assert (nodata.rcode, nodata.answer) == ("NOERROR", ())
    assert isinstance(ask(zone, body, "other.corp."), Forward)


def test_hosts_without_fallthrough(zone: Zone) -> None:
    """Without fallthrough an unknown name is NXDOMAIN, and a mounted file is read."""
    body = "hosts /etc/coredns/customdomains.db example.test"
    read = {"/etc/coredns/customdomains.db": "10.1.1.1 a.example.test\n"}.get
    assert text(ask(zone, body, "a.example.test.", read_file=read)) == ["a.example.test. 3600 IN A 10.1.1.1"]
    gone = ask(zone, body, "b.example.test.", read_file=read)
    assert isinstance(gone, Answer)
    assert gone.rcode == "NXDOMAIN"


KUBERNETES = "kubernetes cluster.local {\n ttl 30\n}\nforward . 192.0.2.1"


@pytest.mark.parametrize(
    ("rule", "name", "records"),
    [
        pytest.param(
            "rewrite name shop.test web.shop.svc.cluster.local",
            "Shop.test.",
            ["Shop.test. 30 IN A 127.96.1.1"],
            id="exact: the client sees the name that it asked for",
        ),
        pytest.param(
            "rewrite name suffix .corp.test .shop.svc.cluster.local",
            "web.corp.test.",
            ["web.corp.test. 30 IN A 127.96.1.1"],
            id="suffix",
        ),
        pytest.param(
            r"rewrite name regex (.*)\.(.*)\.corp\.test {1}.{2}.svc.cluster.local answer auto",
            "web.shop.corp.test.",
            ["web.shop.corp.test. 30 IN A 127.96.1.1"],
            id="regex with answer auto",
        ),
        pytest.param(
            r"rewrite name regex (.*)\.corp\.test {1}.shop.svc.cluster.local answer name (.*)\.shop\.svc\.cluster\.local {1}.corp.test",
            "web.corp.test.",
            ["web.corp.test. 30 IN A 127.96.1.1"],
            id="regex with an answer rule",
        ),
        pytest.param(
            r"rewrite name regex (.*)\.corp\.test {1}.shop.svc.cluster.local",
            "web.corp.test.",
            ["web.shop.svc.cluster.local. 30 IN A 127.96.1.1"],
            id="regex alone shows the other name, as in CoreDNS",
        ),
        pytest.param(
            "rewrite continue name suffix .one.test .two.test\nrewrite name suffix .two.test .shop.svc.cluster.local",
            "web.one.test.",
            ["web.one.test. 30 IN A 127.96.1.1"],
            id="continue goes on to the next rule",
        ),
        pytest.param(
            "rewrite name prefix my- web",
            "my-.shop.svc.cluster.local.",
            ["my-.shop.svc.cluster.local. 30 IN A 127.96.1.1"],
            id="prefix",
        ),
        pytest.param(
            "rewrite ttl suffix shop.svc.cluster.local 5",
            "web.shop.svc.cluster.local.",
            ["web.shop.svc.cluster.local. 5 IN A 127.96.1.1"],
            id="ttl",
        ),
        pytest.param(
            "rewrite {\n name regex (.*)\\.corp\\.test {1}.shop.svc.cluster.local\n answer auto\n}",
            "web.corp.test.",
            ["web.corp.test. 30 IN A 127.96.1.1"],
            id="a block",
        ),
        pytest.param(
            "rewrite name shop.test nobody.test", "web.shop.svc.cluster.local.",
            ["web.shop.svc.cluster.local. 30 IN A 127.96.1.1"], id="a rule for another name",
        ),
    ],
)  # fmt: skip
def test_rewrite(zone: Zone, rule: str, name: str, records: list[str]) -> None:
    """A rewritten question is answered under the name that was asked for."""
    assert text(ask(zone, f"{rule}\n{KUBERNETES}", name)) == records


def test_rewrite_type_and_forward(zone: Zone) -> None:
    """Type rules change the question; what is forwarded carries the way back along."""
    assert text(ask(zone, f"rewrite type ANY A\n{KUBERNETES}", "web.shop.svc.cluster.local.", "ANY")) != []
    wish = ask(zone, f"rewrite name a.test b.example\n{KUBERNETES}", "a.test.")
    assert isinstance(wish, Forward)
    assert wish.question.name == "b.example."
    back = Answer(answer=(Record("b.example.", 9, "A", "10.0.0.1"),))
    for undo in wish.after:
        back = undo(back)
    assert text(back) == ["a.test. 9 IN A 10.0.0.1"]


def test_template(zone: Zone) -> None:
    """A template answers from what its expression found; without a match the query falls through or fails."""
    body = (
        "template IN A example {\n match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$\n"
        ' answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"\n fallthrough\n}\n'
        'template ANY ANY invalid {\n rcode NXDOMAIN\n authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"\n}\n'
        'template IN A hex.test {\n match ^x([0-9a-f]+)[.]\n answer "{{ .Name }} IN A 10.0.0.{{ parseInt (index .Match 1) 16 8 }}"\n}\n'
        "forward . 192.0.2.1"
    )
    assert text(ask(zone, body, "ip-10-1-2-3.example.")) == ["ip-10-1-2-3.example. 60 IN A 10.1.2.3"]
    assert isinstance(ask(zone, body, "www.example."), Forward)
    invalid = ask(zone, body, "a.invalid.", "MX")
    assert isinstance(invalid, Answer)
    assert (invalid.rcode, str(invalid.authority[0])) == (
        "NXDOMAIN",
        "invalid. 60 IN SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60",
    )
    assert text(ask(zone, body, "x1f.hex.test.")) == ["x1f.hex.test. 3600 IN A 10.0.0.31"]
    unmatched = ask(zone, body, "y.hex.test.")
    assert isinstance(unmatched, Answer)
    assert unmatched.rcode == "SERVFAIL"


def test_template_records_are_read_as_dnslib_reads_them() -> None:
    """A zone-file line means the same to us and to dnslib."""
    for line in ("a.test. 60 IN MX 10 mail.test.", 'a.test. 5 IN TXT "two words"', "a.test. IN SRV 1 2 3 b.test."):
        (theirs,) = dnslib.RR.fromZone(line, ttl=3600)
        ours = parse_record(line)
        assert (str(theirs.rname), theirs.ttl, dnslib.QTYPE[theirs.rtype], str(theirs.rdata)) == ours
    with pytest.raises(ValueError, match="not a resource record"):
        parse_record("nonsense")


def test_forward(zone: Zone) -> None:
    """Stub domains go to their own upstreams, `except` is left out, CoreDNS itself is never one."""
    body = "forward corp.test 10.9.9.9:5353\nforward . /etc/resolv.conf {\n except local.test\n policy sequential\n}"
    context = {"upstreams": (Upstream("192.0.2.1"), Upstream("127.96.0.10")), "addresses": ("127.96.0.10",)}
    stub = ask(zone, body, "a.corp.test.", **context)
    assert isinstance(stub, Forward)
    assert stub.upstreams == (Upstream("10.9.9.9", 5353),)
    other = ask(zone, body, "example.com.", **context)
    assert isinstance(other, Forward)
    assert (other.upstreams, other.policy) == ((Upstream("192.0.2.1"),), "sequential")
    left_out = ask(zone, body, "a.local.test.", **context)
    assert isinstance(left_out, Answer)
    assert left_out.rcode == "SERVFAIL"
    assert "loop" in block(body, **context).warnings[0]


def test_reverse_of_loopback_stays_here(zone: Zone) -> None:
    """Nobody outside knows names for 127.0.0.0/8: NXDOMAIN without asking."""
    found = ask(zone, "forward . 192.0.2.1", "9.9.9.127.in-addr.arpa.", "PTR")
    assert isinstance(found, Answer)
    assert found.rcode == "NXDOMAIN"
    assert isinstance(ask(zone, "forward . 192.0.2.1", "8.8.8.8.in-addr.arpa.", "PTR"), Forward)


def test_order_is_the_lists_not_the_files(zone: Zone) -> None:
    """Plugins work in CoreDNS' order, wherever they stand in the Corefile."""
    body = f"{KUBERNETES}\nhosts {{\n 10.0.0.1 web.shop.svc.cluster.local\n fallthrough\n}}"
    assert text(ask(zone, body, "web.shop.svc.cluster.local.")) == ["web.shop.svc.cluster.local. 3600 IN A 10.0.0.1"]
