"""A certificate that nobody has signed but its own key: for servers whose callers don't look at it."""

from collections.abc import Sequence

__all__ = ["self_signed"]


def self_signed(common_name: str, names: Sequence[str], *, organization: str = "") -> tuple[bytes, bytes]:
    """Make a certificate for the DNS `names`, valid for a year; return it and its key, in PEM."""
    from datetime import UTC, datetime, timedelta  # with cryptography's tens of milliseconds, only where one is made

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    parts = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name[:64])]
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
