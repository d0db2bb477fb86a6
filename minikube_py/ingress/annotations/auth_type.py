"""`auth-type: basic`, `auth-secret`, `auth-secret-type`, `auth-realm`: 401 without a user of the Secret.

The Secret holds an htpasswd file under `auth` (auth-file) or one key per user (auth-map).
Left out: `auth-type: digest`.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.htpasswd import supported, verify
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("auth-type", "auth-secret", "auth-secret-type", "auth-realm")
PHASE = Phase.ACCESS


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Asks for a user and password. `users` None: the Secret is missing, nobody gets in (ingress-nginx: 503)."""

    phase: ClassVar[Phase] = Phase.ACCESS
    ingress: Key
    realm: str
    users: Mapping[str, str] | None

    def request(self, call: Call) -> Answer | None:
        if self.users is None:
            return Answer(503, "annotation auth-secret: the Secret is missing or has no users")
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                user = password = ""
            stored = self.users.get(user)
            # slow hashes are computed once per password: what is remembered is a digest
            known: set[bytes] = call.state.setdefault(("auth-basic", self.ingress), set())
            digest = hashlib.sha256(f"{user}\0{password}\0{stored}".encode()).digest()
            if stored is not None and (digest in known or verify(password, stored)):
                known.add(digest)
                return None
        return Answer(401, "annotation auth-type: basic", (("WWW-Authenticate", f'Basic realm="{self.realm}"'),))


def apply(draft: Draft) -> None:
    if (kind := draft.text("auth-type")) is None:
        return
    if kind != "basic":
        draft.problem("auth-type", "is not supported here (basic is)")
        return
    realm = (draft.text("auth-realm") or "").replace('"', "")
    users: dict[str, str] = {}
    if name := draft.text("auth-secret"):
        secret = draft.object("secrets", "auth-secret", name)
        data = {key: base64.b64decode(value).decode() for key, value in ((secret or {}).get("data") or {}).items()}
        data.update((secret or {}).get("stringData") or {})
        if draft.text("auth-secret-type") == "auth-map":
            users = {user: value.strip() for user, value in data.items()}
        else:
            for line in data.get("auth", "").splitlines():
                user, colon, value = line.strip().partition(":")
                if colon and not user.startswith("#"):
                    users[user] = value
            if secret is not None and "auth" not in data:
                draft.problems.append(f'auth-secret: Secret "{name}" has no key "auth"')
        for user, value in users.items():
            if not supported(value):
                draft.problems.append(f'auth-secret: the password of "{user}" is hashed in a way not supported here')
    draft.filters.append(BasicAuth(draft.key, realm, users or None))
