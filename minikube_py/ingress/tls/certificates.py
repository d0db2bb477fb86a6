"""Which certificate a TLS caller is shown: by SNI, from the Ingresses' Secrets, else one made here.

    exact host  >  wildcard  >  the section without hosts  >  a made certificate

A missing Secret never breaks the handshake: the cluster's CA makes a certificate for the host (so that
`curl --cacert` works), or without a CA there is ingress-nginx's "Kubernetes Ingress Controller Fake Certificate".
"""

import base64
import binascii
import logging
import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import Protocol

from minikube_py.aiokit.selfsigned import self_signed
from minikube_py.ingress.rules.rules import Rules, TLSHost
from minikube_py.ingress.rules.sources import SECRETS, Sources

__all__ = ["CertificateAuthority", "Certificates", "choose", "context_of", "pair_of"]

logger = logging.getLogger(__name__)

_MADE = 256
"""Made certificates kept; callers choose the names (SNI), so there must be an end."""


class CertificateAuthority(Protocol):
    """What the cluster's CA does for the ingress."""

    def issue(self, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """Return (certificate chain, key), PEM, for these names."""
        ...


def choose(tls: Mapping[str, TLSHost], name: str) -> TLSHost | None:
    """Return whose certificate a server name gets."""
    name = name.lower().rstrip(".")
    if (found := tls.get(name)) is not None:
        return found
    dot = name.find(".")
    if dot > 0 and (found := tls.get("*" + name[dot:])) is not None:
        return found
    return tls.get("")


def pair_of(secret: Mapping[str, object] | None) -> tuple[bytes, bytes] | str:
    """Return (certificate, key) of a kubernetes.io/tls Secret, or what is wrong with it."""
    if secret is None:
        return "it does not exist"
    data = secret.get("data")
    plain = secret.get("stringData")
    pair = []
    for key in ("tls.crt", "tls.key"):
        if isinstance(plain, Mapping) and key in plain:
            pair.append(str(plain[key]).encode())
        elif isinstance(data, Mapping) and key in data:
            try:
                pair.append(base64.b64decode(str(data[key]), validate=True))
            except binascii.Error:
                return f"{key} is not base64"
        else:
            return f"it has no {key}"
    return pair[0], pair[1]


class Certificates:
    """The TLS contexts of one controller. `update` after each change; the listener's context is `context`.

    Error handling: a Secret that can't be used is logged once per change, and a made certificate stands in.
    """

    def __init__(self, authority: CertificateAuthority | None) -> None:
        self._authority = authority
        self._tls: Mapping[str, TLSHost] = {}
        self._loaded: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        self._made: dict[str, ssl.SSLContext] = {}
        self._sources: Sources | None = None
        self._own: ssl.SSLContext | None = None

    def update(self, rules: Rules, sources: Sources) -> None:
        self._tls = rules.tls
        self._sources = sources

    def problem(self, host: TLSHost) -> str:
        """Return what is wrong with a host's Secret; "" if nothing."""
        if host.secret is None or self._sources is None:
            return ""
        pair = pair_of(self._sources.get(SECRETS, host.secret))
        return f'Secret "{host.secret}": {pair}' if isinstance(pair, str) else ""

    @property
    def context(self) -> ssl.SSLContext:
        """The listener's context; the certificate is chosen when the caller has said which name it wants."""
        if self._own is None:
            self._own = _context()
            self._own.sni_callback = self._hello
        return self._own

    def _hello(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.for_name(name or "")

    def for_name(self, name: str) -> ssl.SSLContext:
        """Return the context with the right certificate for a server name ("" is none)."""
        host = choose(self._tls, name)
        if host is not None and host.secret is not None and self._sources is not None:
            pair = pair_of(self._sources.get(SECRETS, host.secret))
            if not isinstance(pair, str):
                try:
                    return self._load(pair)
                except (ssl.SSLError, ValueError) as error:
                    logger.warning("TLS secret unusable secret=%s error=%s", host.secret, error)
        wanted = name or (host.host if host else "")
        if wanted not in self._made:
            if len(self._made) >= _MADE:
                del self._made[next(iter(self._made))]
            self._made[wanted] = context_of(self._make(wanted))
        return self._made[wanted]

    def _make(self, name: str) -> tuple[bytes, bytes]:
        if self._authority is not None:
            return self._authority.issue([name] if name else ["ingress.local"])
        return fake_certificate()

    def _load(self, pair: tuple[bytes, bytes]) -> ssl.SSLContext:
        if pair not in self._loaded:
            if len(self._loaded) >= _MADE:  # Secrets that were replaced
                del self._loaded[next(iter(self._loaded))]
            self._loaded[pair] = context_of(pair)
        return self._loaded[pair]


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def context_of(pair: tuple[bytes, bytes]) -> ssl.SSLContext:
    """Return a server's context for (certificate chain, key), PEM.

    `ssl` reads files only, so they pass through a private folder that is gone afterwards.
    """
    context = _context()
    with tempfile.TemporaryDirectory(prefix="minikube-py-") as folder:
        names = []
        for name, content in zip(("crt", "key"), pair, strict=True):
            path = os.path.join(folder, name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            names.append(path)
        context.load_cert_chain(names[0], names[1])
    return context


def fake_certificate() -> tuple[bytes, bytes]:
    """Make ingress-nginx's self-signed default certificate."""
    name = "Kubernetes Ingress Controller Fake Certificate"
    return self_signed(name, ["ingress.local"], organization="Acme Co")
