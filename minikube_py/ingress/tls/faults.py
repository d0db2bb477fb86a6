"""What is wrong with a TLS Secret for a host, and which certificate callers are shown then. Pure.

ingress-nginx shows its "Fake Certificate" where a Secret is missing or unusable, and where its certificate is another
host's; an expired one it shows all the same. Here the cluster's CA makes one for the host where a Secret can't be used;
what can be loaded is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from minikube_py.ingress.tls.certificates import pair_of

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Fault", "fault_of"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and what follows."""

    text: str
    shown: bool
    """Whether callers get the Secret's certificate all the same."""

    def __str__(self) -> str:
        if self.shown:
            return f"{self.text}; callers are shown it all the same"
        return (
            f"{self.text}; callers are shown a certificate made by the cluster's CA (mkpy ca), ingress-nginx's is fake"
        )


def fault_of(secret: Mapping[str, object] | None, host: str, now: datetime) -> Fault | None:
    """Judge a Secret for a host ("" for any, `*.` for one label); None if nothing is wrong."""
    pair = pair_of(secret)
    if isinstance(pair, str):
        data = (secret or {}).get("data")
        keys = ", ".join(data) if isinstance(data, Mapping) else ""
        keys = f" (type {(secret or {}).get('type', 'Opaque')}, keys: {keys})" if keys else ""
        return Fault(f"{pair}{keys}", False)
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificate(pair[0])
    except ValueError:
        return Fault("its tls.crt is no PEM certificate", False)
    try:
        key = load_pem_private_key(pair[1], None)
    except (ValueError, TypeError):
        return Fault("its tls.key is no PEM private key (without a password)", False)
    if key.public_key() != certificate.public_key():
        return Fault("its tls.key is not the key of its tls.crt", False)
    if certificate.not_valid_after_utc < now:
        return Fault(f"its certificate expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", True)
    if certificate.not_valid_before_utc > now:
        return Fault(f"its certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only", True)
    names = _names(certificate)
    if host and not any(_covers(name.lower(), host.lower()) for name in names):
        text = f"its certificate is for {', '.join(names) or 'no name'}, not for {host}"
        return Fault(f"{text} (ingress-nginx shows its fake one then)", True)
    return None


def _names(certificate: "x509.Certificate") -> list[str]:
    """Return the names that a certificate is for: its subject's where it has no others, as ingress-nginx does."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _covers(name: str, host: str) -> bool:
    return name == host or (name.startswith("*.") and "." in host and name[1:] == host[host.index(".") :])
