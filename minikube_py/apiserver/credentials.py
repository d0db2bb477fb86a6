"""Who may speak to the API server: the administrator's token, and tokens of ServiceAccounts (TokenRequest).

ServiceAccount tokens are JSON Web Tokens, as in a real cluster, signed with a key that only this process knows. There
is no RBAC: who has a token of the cluster may do everything.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from minikube_py.apiserver.certificates import Authority, KeyPair, server_names

__all__ = ["ADMIN", "Credentials", "User", "write_private"]

ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class User:
    """Who sends a request."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    def info(self) -> dict[str, Any]:
        """Return the userInfo of reviews."""
        return {"username": self.name, **({"uid": self.uid} if self.uid else {}), "groups": list(self.groups)}


ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


@dataclass(frozen=True)
class Credentials:
    """The secrets of one cluster."""

    token: str = field(repr=False)
    authority: Authority = field(repr=False)
    server: KeyPair = field(repr=False)
    _signing_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @classmethod
    def create(cls, service_ip: str = "127.96.0.1", *, hosts: Iterable[str] = ()) -> Self:
        """Make new ones; `service_ip` is the address of the Service `kubernetes`, `hosts` are further names."""
        authority = Authority.create()
        return cls(secrets.token_urlsafe(32), authority, authority.issue(server_names(service_ip, hosts=hosts)))

    def server_context(self) -> ssl.SSLContext:
        """Return the server's side of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory(prefix="minikube-py-") as folder:  # ssl reads only files; mode 0700
            pem = Path(folder) / "server.pem"
            write_private(pem, self.server.cert_pem + self.server.key_pem)
            context.load_cert_chain(pem)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return the client's side: trusts this cluster's authority alone."""
        return ssl.create_default_context(cadata=self.authority.cert_pem.decode())

    def user(self, token: str, now: float) -> User | None:
        """Return whose token this is; None for nobody's, an expired or a forged one."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return ADMIN
        claims = self._verified(token, now)
        if claims is None:
            return None
        account = claims["kubernetes.io"]
        namespace = account["namespace"]
        return User(
            claims["sub"],
            ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
            account["serviceaccount"]["uid"],
        )

    def issue(
        self, namespace: str, name: str, uid: str, *, now: float, seconds: int, audiences: Iterable[str] = ()
    ) -> str:
        """Return a token of a ServiceAccount that is valid for `seconds`."""
        claims = {
            "aud": list(audiences) or [ISSUER],
            "exp": int(now) + seconds,
            "iat": int(now),
            "nbf": int(now),
            "iss": ISSUER,
            "jti": secrets.token_hex(16),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        body = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + "." + _b64(json.dumps(claims).encode())
        return body + "." + self._signature(body)

    def _signature(self, body: str) -> str:
        return _b64(hmac.new(self._signing_key, body.encode(), hashlib.sha256).digest())

    def _verified(self, token: str, now: float) -> dict[str, Any] | None:
        body, dot, signature = token.rpartition(".")
        if not dot or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        payload = body.rpartition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims if claims["exp"] > now else None


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
