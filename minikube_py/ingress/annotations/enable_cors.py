"""`enable-cors` and its family: preflights are answered here, other answers get the headers."""

import re
from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Headers, Phase

NAMES = (
    "enable-cors",
    "cors-allow-origin",
    "cors-allow-methods",
    "cors-allow-headers",
    "cors-allow-credentials",
    "cors-expose-headers",
    "cors-max-age",
)
PHASE = Phase.REDIRECT

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\*\.)?[A-Za-z0-9._-]+(?::\d{1,5})?")
_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_HEADERS = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"


@dataclass(frozen=True, slots=True)
class CORS:
    """Both halves: the preflight and the headers."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    stateless: ClassVar[bool] = True
    origins: re.Pattern[str] | None
    """None: every origin (`*`)."""
    methods: str
    allowed: str
    credentials: bool
    exposed: str
    max_age: int

    def _origin(self, call: Call) -> str | None:
        if self.origins is None:
            return "*"
        origin = call.headers.get("Origin", "")
        return origin if self.origins.fullmatch(origin) else None

    def _headers(self, call: Call) -> Headers:
        if (origin := self._origin(call)) is None:
            return []
        headers = [("Access-Control-Allow-Origin", origin)]
        if origin != "*":
            headers.append(("Vary", "Origin"))
        if self.credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        headers.append(("Access-Control-Allow-Methods", self.methods))
        headers.append(("Access-Control-Allow-Headers", self.allowed))
        if self.exposed:
            headers.append(("Access-Control-Expose-Headers", self.exposed))
        headers.append(("Access-Control-Max-Age", str(self.max_age)))
        return headers

    def request(self, call: Call) -> Answer | None:
        if call.method != "OPTIONS" or self._origin(call) is None:
            return None  # another origin's preflight is the backend's to answer
        return Answer(204, "annotation enable-cors: preflight")

    def response(self, call: Call, status: int, headers: Headers) -> None:
        ours = self._headers(call)
        names = {name.lower() for name, _ in ours if name != "Vary"}
        headers[:] = [each for each in headers if each[0].lower() not in names]
        headers += ours


def _origins(draft: Draft) -> re.Pattern[str] | None:
    """Read the origins; a `*` in one stands for a single label."""
    good = []
    for word in draft.words("cors-allow-origin"):
        if word == "*":
            return None
        if _ORIGIN.fullmatch(word):
            good.append(re.escape(word).replace(r"\*", r"[A-Za-z0-9-]+"))
        else:
            draft.problem("cors-allow-origin", f"must be *, or origins such as https://shop.example ({word} is none)")
    return re.compile("|".join(good), re.IGNORECASE) if good else None


def apply(draft: Draft) -> None:
    if not draft.flag("enable-cors"):
        return
    credentials = draft.flag("cors-allow-credentials")
    age = draft.number("cors-max-age")
    cors = CORS(
        _origins(draft),
        draft.text("cors-allow-methods") or _METHODS,
        draft.text("cors-allow-headers") or _HEADERS,
        True if credentials is None else credentials,
        draft.text("cors-expose-headers") or "",
        1_728_000 if age is None else age,
    )
    draft.filters.append(cors)
    draft.response_filters.append(cors)
