"""A private certificate authority: the API server's certificate, and on demand those of others (the ingress).

ECDSA P-256, which takes a millisecond to make. `cryptography` is imported when the first certificate is made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Authority", "KeyPair", "server_names"]

_YEARS = 10
_BACKDATED = timedelta(hours=1)
"""Clocks of clients may be a little behind."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its key, both PEM."""

    cert_pem: bytes
    key_pem: bytes


def server_names(service_ip: str, *, hosts: Iterable[str] = ()) -> list[str]:
    """Return the names and addresses under which clients reach the API server."""
    return [
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        service_ip,
        *hosts,
    ]


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of one cluster."""

    cert_pem: bytes
    key_pem: bytes

    @classmethod
    def create(cls, name: str = "minikube-py") -> Self:
        """Make a new authority."""
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(name, key, name, key, hosts=(), authority=True)
        return cls(certificate, _pem(key))

    def issue(self, hosts: Sequence[str]) -> KeyPair:
        """Return a server certificate for these names and addresses, signed by this authority."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        own = serialization.load_pem_private_key(self.key_pem, None)
        assert isinstance(own, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(self.cert_pem).subject
        name = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(hosts[0], key, str(name), own, hosts=hosts, authority=False)
        return KeyPair(certificate, _pem(key))


def _pem(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _sign(
    subject: str,
    key: "EllipticCurvePrivateKey",
    issuer: str,
    issuer_key: "EllipticCurvePrivateKey",
    *,
    hosts: Sequence[str],
    authority: bool,
) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])

    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=not authority,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
