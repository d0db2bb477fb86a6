"""One HTTP request on its way through the API server, and the answers that are written for it."""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver.credentials import User
from minikube_py.apiserver.representation import Representation, encode

__all__ = ["MAX_BODY", "Exchange", "failure"]

MAX_BODY = 3 * 1024 * 1024
"""kube-apiserver's limit on request bodies (3 MiB)."""

_COMPRESS_FROM = 128 * 1024
"""kube-apiserver compresses answers from this size on."""

_NO_CACHE = "no-cache, private"


@dataclass(slots=True)
class Exchange:
    """A request with what is known about it."""

    request: web.BaseRequest
    parts: list[str]
    """The decoded segments of the path."""
    query: Mapping[str, str]
    user: User
    warnings: list[str] = field(default_factory=list)
    """Sent as Warning headers; kubectl prints them."""

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def dry_run(self) -> bool:
        value = self.query.get("dryRun")
        if value is None or value == "All":
            return value is not None
        raise errors.invalid("CreateOptions", "", [errors.not_supported("dryRun", value, ("All",))], "meta.k8s.io")

    @property
    def validation(self) -> str:
        """Return fieldValidation: Strict, Warn (the default) or Ignore."""
        value = self.query.get("fieldValidation") or "Warn"
        if value not in ("Strict", "Warn", "Ignore"):
            error = errors.not_supported("fieldValidation", value, ("Ignore", "Strict", "Warn"))
            raise errors.invalid("CreateOptions", "", [error], "meta.k8s.io")
        return value

    @property
    def manager(self) -> str:
        """Return who writes, as managedFields names it: `fieldManager`, else the program's name."""
        given = self.query.get("fieldManager")
        return given or (self.request.headers.get("User-Agent", "").partition("/")[0] or "unknown")[:128]

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    def number(self, name: str) -> int | None:
        """Return an integer parameter; 400 if it is none."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise errors.bad_request(f'invalid value "{text}" of {name}: it must be an integer') from None

    async def body(self) -> bytes:
        """Read the body; 413 for one that is too large."""
        try:
            body = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _too_large() from None
        if len(body) > MAX_BODY:
            raise _too_large()
        if self.request.headers.get("Content-Encoding", "").lower() == "gzip" and body[:2] == b"\x1f\x8b":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError) as error:
                raise errors.bad_request(f"the body can't be unpacked: {error}") from None
        return body

    @property
    def content_type(self) -> str:
        return self.request.headers.get("Content-Type", "")

    def json(self, value: Any, status: int = 200, *, how: Representation | None = None) -> web.Response:
        """Answer with an object, as YAML if that was negotiated."""
        if how is not None and how.yaml:
            import msgspec

            body, content_type = msgspec.yaml.encode(value), "application/yaml"
        else:
            body, content_type = encode(value) + b"\n", "application/json"
        return self.bytes(body, content_type, status)

    def bytes(
        self, body: bytes, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        response = web.Response(status=status)
        response.headers["Content-Type"] = content_type
        response.headers["Cache-Control"] = _NO_CACHE
        if headers:
            response.headers.update(headers)
        if len(body) >= _COMPRESS_FROM and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Vary"] = "Accept-Encoding"
        response.body = body
        add_warnings(response, self.warnings)
        return response


def add_warnings(response: web.StreamResponse, warnings: Iterable[str]) -> None:
    for warning in dict.fromkeys(warnings):
        text = "".join(c if c.isprintable() else " " for c in warning).replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')


def failure(error: StatusError) -> web.Response:
    """Answer with a Status."""
    response = web.Response(status=error.code, body=encode(error.status()) + b"\n")
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = _NO_CACHE
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry is not None:
        response.headers["Retry-After"] = str(retry)
    return response


def _too_large() -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}")
