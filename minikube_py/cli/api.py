"""A small client of the cluster's API server: standard library only, because it runs in every short command."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.cli.console import ExitCode, Failure
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["Client", "RemoteView"]


class Client:
    """Talks to one cluster's API server with its token and CA.

    Error handling: StatusError with the server's own words; Failure (exit code 3) when it can't be reached.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        url = urlsplit(facts["api"])
        self._host, self._port = url.hostname or "127.0.0.1", url.port or 443
        self._token = facts["token"]
        self._context = ssl.create_default_context(cafile=facts["ca"])
        self.registry = Registry()

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> http.client.HTTPResponse:
        """Send one request; return the response unread."""
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context)
        target = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
        except OSError as error:
            raise Failure(
                f"the API server at {self._host}:{self._port} does not answer: {error}", ExitCode.NO_CLUSTER
            ) from None
        if response.status >= 400:
            raise _status_error(response)
        return response

    def connection(self) -> tuple[str, str, ssl.SSLContext]:
        """Return URL, token and TLS context, for a client that speaks WebSocket."""
        return f"https://{self._host}:{self._port}", self._token, self._context

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send one request; return the JSON answer."""
        with self.open(method, path, **options) as response:
            return json.loads(response.read() or b"null")

    def path(self, kind: Kind, namespace: str | None = None, name: str = "") -> str:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        inside = f"/namespaces/{quote(namespace)}" if kind.namespaced and namespace else ""
        return f"{root}{inside}/{kind.plural}" + (f"/{quote(name)}" if name else "")

    def list(self, resource: str, namespace: str | None = None, **query: str) -> list[Object]:
        kind = self.registry.by_resource(resource)
        answer = self.request("GET", self.path(kind, namespace), query=query)
        for item in answer["items"]:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        items: list[Object] = answer["items"]
        return items

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        try:
            found: Object = self.request("GET", self.path(self.registry.by_resource(resource), namespace, name))
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return found


def _status_error(response: http.client.HTTPResponse) -> StatusError:
    text = response.read().decode(errors="replace")
    try:
        status = json.loads(text)
        return StatusError(
            response.status, status.get("reason", ""), status.get("message", text), status.get("details")
        )
    except ValueError:
        return StatusError(response.status, "", text.strip() or response.reason)


class RemoteView:
    """A `client.api.View` over HTTP, each list read once: for the pure findings that the command line prints."""

    revision = 0

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lists: dict[str, list[Object]] = {}

    def _all(self, resource: str) -> list[Object]:
        if resource not in self._lists:
            self._lists[resource] = self._client.list(resource)
        return self._lists[resource]

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        return next((obj for obj in self.list(resource, namespace or None) if meta.name(obj) == name), None)

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        return [
            obj
            for obj in self._all(resource)
            if (namespace is None or meta.namespace(obj) == namespace)
            and (selector is None or selector.matches(meta.labels(obj)))
        ]

    def resources(self) -> Sequence[str]:
        return list(self._lists)

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        def owned() -> Iterator[Object]:
            for name in [resource] if resource else list(self._lists):
                for obj in self._all(name):
                    if any(r["uid"] == uid for r in obj["metadata"].get("ownerReferences") or ()):
                        yield obj

        return list(owned())
