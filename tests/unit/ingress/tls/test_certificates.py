"""TLS: certificates by SNI, made ones, redirects; real handshakes."""

import asyncio
import base64
import ssl

import pytest
from cryptography import x509

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.rules.rules import TLSHost
from minikube_py.ingress.tls.certificates import choose, pair_of

from ..authority import Authority
from ..support import World, echo, endpoints, ingress, path, service, world

pytestmark = pytest.mark.usefixtures("both_ways")


def secret(name: str, pair: tuple[bytes, bytes]) -> Object:
    crt, key = (base64.b64encode(each).decode() for each in pair)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"tls.crt": crt, "tls.key": key},
    }


async def shown(running: World, name: str | None, trust: ssl.SSLContext | None = None) -> tuple[x509.Name, bytes]:
    """Make a handshake and one request; return the certificate's issuer and the answer."""
    if trust is None:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        running.address_of_controller, running.https_port, ssl=trust, server_hostname=name or ""
    )
    connection = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    writer.write(f"GET / HTTP/1.1\r\nHost: {name or 'x'}\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return certificate.subject if trust.verify_mode is ssl.CERT_NONE else certificate.issuer, answer


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("a.test", "a.test"),
        ("A.TEST.", "a.test"),
        ("x.w.test", "*.w.test"),
        ("y.x.w.test", ""),
        ("w.test", ""),
        ("", ""),
    ],
)
def test_choice(name: str, host: str) -> None:
    """Exact, then one-label wildcard, then the section without hosts."""
    tls = {each: TLSHost(Key("d", "i"), each, None) for each in ("a.test", "*.w.test", "")}
    found = choose(tls, name)
    assert found is not None
    assert found.host == host


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "does not exist"),
        ({"data": {}}, "no tls.crt"),
        ({"data": {"tls.crt": "!"}}, "not base64"),
    ],
)
def test_unusable_secrets(given: Object | None, words: str) -> None:
    """What is wrong with a Secret is said."""
    assert words in pair_of(given)


async def test_certificates_by_name() -> None:
    """The Secret's certificate is shown for its host, a wildcard's for its names, and made ones for the rest."""
    theirs, ours = Authority("theirs"), Authority("ours")
    async with world() as running:
        await running.start(certificate_authority=ours)
        running.create(
            secret("a", theirs.issue(["a.test"])),
            secret("w", theirs.issue(["*.w.test"])),
            service("web"),
            endpoints("web", [await running.pod(echo)]),
            ingress(
                "web",
                {host: [path("web")] for host in ("a.test", "x.w.test", "made.test")},
                tls=[
                    {"hosts": ["a.test"], "secretName": "a"},
                    {"hosts": ["*.w.test"], "secretName": "w"},
                    {"hosts": ["made.test"], "secretName": "missing"},
                ],
            ),
        )
        for name, authority in (("a.test", theirs), ("x.w.test", theirs), ("made.test", ours)):
            _, answer = await shown(running, name, authority.trust())
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Strict-Transport-Security: max-age=31536000; includeSubDomains" in answer
            assert b'"x-forwarded-proto": "https"' in answer
        assert ours.issued == [("made.test",)]


async def test_a_replaced_secret_is_used_at_once() -> None:
    """The next handshake shows the new certificate."""
    first, second = Authority("first"), Authority("second")
    async with world() as running:
        await running.start()
        running.create(
            secret("a", first.issue(["a.test"])),
            ingress("web", {"a.test": [path("web")]}, tls=[{"hosts": ["a.test"], "secretName": "a"}]),
        )
        await shown(running, "a.test", first.trust())
        running.api.update(secret("a", second.issue(["a.test"])))
        await shown(running, "a.test", second.trust())


async def test_without_authority_there_is_the_fake_certificate(running: World) -> None:
    """As in ingress-nginx."""
    subject, _ = await shown(running, "any.test")
    assert "Kubernetes Ingress Controller Fake Certificate" in subject.rfc4514_string()


@pytest.mark.parametrize(
    ("annotations", "host", "expected"),
    [
        pytest.param({}, "shop.test", (308, "https://shop.test/a?b"), id="on by default"),
        pytest.param({}, "shop.test:8080", (308, "https://shop.test:8443/a?b"), id="by the host's own door"),
        pytest.param({"ssl-redirect": "false"}, "shop.test", (200, None), id="switched off"),
    ],
)
async def test_ssl_redirect(annotations: dict[str, str], host: str, expected: tuple[int, str | None]) -> None:
    """HTTP to a host with TLS answers 308 to HTTPS, unless ssl-redirect says no."""
    async with world() as running:
        await running.start(https_port=lambda: 8443)
        running.create(
            service("web"),
            endpoints("web", [await running.pod(echo)]),
            ingress("web", {"shop.test": [path("web")]}, annotations=annotations, tls=[{"hosts": ["shop.test"]}]),
        )
        status, headers, _ = await running.get("/a?b", host)
        assert (status, headers.get("location")) == expected
