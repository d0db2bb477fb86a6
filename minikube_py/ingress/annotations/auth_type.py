"""`auth-type: basic` or `digest`, `auth-secret`, `auth-secret-type`, `auth-realm`: 401 without a user of the Secret.

The Secret holds an htpasswd (basic) or htdigest file under `auth` (auth-file), or one key per user (auth-map).
Left out: digests other than MD5, `qop=auth-int`, and counting a nonce's uses.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.htpasswd import supported, verify
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("auth-type", "auth-secret", "auth-secret-type", "auth-realm")
PHASE = Phase.ACCESS
_FIELD = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_NONCE_LIFE = 60.0
"""Seconds a nonce may be used (nginx's auth_digest_timeout)."""
_NONCES = 10_000


@dataclass(frozen=True, slots=True)
class _Auth:
    """Asks who it is. `users` None: the Secret is missing, nobody gets in (ingress-nginx: 503)."""

    phase: ClassVar[Phase] = Phase.ACCESS
    ingress: Key
    realm: str
    users: Mapping[str, str] | None

    def request(self, call: Call) -> Answer | None:
        if self.users is None:
            return Answer(503, "annotation auth-secret: the Secret is missing or has no users")
        return self.ask(self.users, call)

    def ask(self, users: Mapping[str, str], call: Call) -> Answer | None:
        """Let one of the users pass, or return a challenge."""
        raise NotImplementedError


class BasicAuth(_Auth):
    """Asks for a user and password."""

    __slots__ = ()

    def ask(self, users: Mapping[str, str], call: Call) -> Answer | None:
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                user = password = ""
            stored = users.get(user)
            # slow hashes are computed once per password: what is remembered is a digest
            known: set[bytes] = call.state.setdefault(("auth-basic", self.ingress), set())
            digest = hashlib.sha256(f"{user}\0{password}\0{stored}".encode()).digest()
            if stored is not None and (digest in known or verify(password, stored)):
                known.add(digest)
                return None
        return Answer(401, "annotation auth-type: basic", (("WWW-Authenticate", f'Basic realm="{self.realm}"'),))


class DigestAuth(_Auth):
    """Asks for the digest of RFC 2617 §3.2; `users` are MD5(user:realm:password) by user."""

    __slots__ = ()

    def ask(self, users: Mapping[str, str], call: Call) -> Answer | None:
        nonces: dict[str, float] = call.state.setdefault(("auth-digest", self.ingress), {})
        scheme, _, text = call.headers.get("Authorization", "").partition(" ")
        stale = ""
        if scheme.lower() == "digest":
            given = {name: quoted or bare for name, quoted, bare in _FIELD.findall(text)}
            if self._proves(users, given, call):
                if nonces.get(given["nonce"], -_NONCE_LIFE) + _NONCE_LIFE > call.now:
                    return None
                stale = ", stale=true"
        nonce = hashlib.sha256(f"{call.request_id} {call.now} {len(nonces)}".encode()).hexdigest()[:32]
        nonces[nonce] = call.now
        if len(nonces) > _NONCES:
            del nonces[next(iter(nonces))]
        challenge = f'Digest algorithm="MD5", qop="auth", realm="{self.realm}", nonce="{nonce}"{stale}'
        return Answer(401, "annotation auth-type: digest", (("WWW-Authenticate", challenge),))

    def _proves(self, users: Mapping[str, str], given: Mapping[str, str], call: Call) -> bool:
        secret = users.get(given.get("username", ""))
        if secret is None or given.get("uri") != call.uri or given.get("realm") != self.realm or "nonce" not in given:
            return False
        asked = _md5(f"{call.method}:{given['uri']}")
        if given.get("qop"):
            middle = ":".join(given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        else:
            middle = given["nonce"]
        return hmac.compare_digest(_md5(f"{secret}:{middle}:{asked}"), given.get("response", ""))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogateescape")).hexdigest()


def apply(draft: Draft) -> None:
    if (kind := draft.text("auth-type")) is None:
        return
    if kind not in ("basic", "digest"):
        draft.problem("auth-type", "must be basic or digest")
        return
    realm = (draft.text("auth-realm") or "").replace('"', "")
    users = _users(draft, kind, realm) or None
    draft.filters.append((BasicAuth if kind == "basic" else DigestAuth)(draft.key, realm, users))


def _users(draft: Draft, kind: str, realm: str) -> Mapping[str, str]:
    if not (name := draft.text("auth-secret")):
        return {}
    secret = draft.object("secrets", "auth-secret", name)
    data = {key: base64.b64decode(value).decode() for key, value in ((secret or {}).get("data") or {}).items()}
    data.update((secret or {}).get("stringData") or {})
    if draft.text("auth-secret-type") == "auth-map":
        lines = [f"{user}:{value.strip()}" for user, value in data.items()]
    else:
        lines = [line.strip() for line in data.get("auth", "").splitlines()]
        if secret is not None and "auth" not in data:
            draft.problems.append(f'auth-secret: Secret "{name}" has no key "auth"')
    users: dict[str, str] = {}
    for line in lines:
        user, colon, value = line.partition(":")
        if not colon or user.startswith("#"):
            continue
        if kind == "digest":
            of_realm, _, value = value.rpartition(":")  # user:realm:hash, as htdigest writes it
            if of_realm not in ("", realm):
                continue
        elif not supported(value):
            draft.problems.append(f'auth-secret: the password of "{user}" is hashed in a way not supported here')
        users[user] = value
    return users
