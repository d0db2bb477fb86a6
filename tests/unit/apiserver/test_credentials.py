"""Certificates, tokens and the kubeconfig."""

import base64
import ssl
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from minikube_py.apiserver import kubeconfig
from minikube_py.apiserver.certificates import Authority
from minikube_py.apiserver.credentials import ADMIN, Credentials

NOW = 1_700_000_000.0


def test_server_certificate_names_all_its_addresses(credentials: Credentials) -> None:
    """Clients reach it as 127.0.0.1, localhost, by its Service's names and address."""
    certificate = x509.load_pem_x509_certificate(credentials.server.cert_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "kubernetes", "kubernetes.default.svc"} <= set(names.get_values_for_type(x509.DNSName))
    assert {str(a) for a in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "127.96.0.1"}
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(credentials.authority.cert_pem))


def test_certificates_for_others_are_trusted_by_who_trusts_the_authority(tmp_path: Path) -> None:
    """The ingress gets a certificate for its hosts."""
    authority = Authority.create("test")
    pair = authority.issue(["shop.example.com", "*.example.org", "127.0.0.9"])
    (tmp_path / "pem").write_bytes(pair.cert_pem + pair.key_pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "pem")
    assert x509.load_pem_x509_certificate(pair.cert_pem).issuer.rfc4514_string() == "CN=test"


def test_kubeconfig_is_private_and_complete(tmp_path: Path, credentials: Credentials) -> None:
    """Mode 0600 even over a file that was open to all; context mkpy-<name>; nothing else is left in the folder."""
    path = tmp_path / "kubeconfig"
    path.touch(0o644)
    kubeconfig.write(path, "shop", "https://127.0.0.1:6443", credentials)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["current-context"] == "mkpy-shop"
    assert config["users"][0]["user"] == {"token": credentials.token}
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    assert base64.b64decode(authority) == credentials.authority.cert_pem
    assert [p.name for p in tmp_path.iterdir()] == ["kubeconfig"]


def test_tokens_know_their_owner_and_expire(credentials: Credentials) -> None:
    """The administrator's never, a ServiceAccount's in time; a forged one is nobody's."""
    assert credentials.user(credentials.token, NOW) == ADMIN
    token = credentials.issue("shop", "bob", "u1", now=NOW, seconds=600)
    user = credentials.user(token, NOW + 599)
    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:shop:bob", "u1")
    assert credentials.user(token, NOW + 601) is None
    head, body, signature = token.split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b"bob", b"eve")).decode()
    assert credentials.user(f"{head}.{forged.rstrip('=')}.{signature}", NOW) is None
    assert Credentials.create().user(token, NOW) is None


@pytest.mark.parametrize("secret", ["token", "key_pem"])
def test_secrets_do_not_show_in_logs(credentials: Credentials, secret: str) -> None:
    """repr leaves them out."""
    value = credentials.token if secret == "token" else credentials.server.key_pem.decode()[40:80]
    assert value not in repr(credentials)
