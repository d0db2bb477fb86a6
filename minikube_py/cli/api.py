"""A small client of the cluster's API server: standard library only, because it runs in every short command."""

import http.client
import json
import math
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        patience: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send one request; the block has the response, unread.

        Reading from it raises TimeoutError where nothing comes for `patience` seconds (default: never).
        """
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=patience)
        with closing(connection):
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
            with response:
                if response.status >= 400:
                    raise _status_error(response)
                yield response

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

    def watch(
        self, kind: Kind, name: str, namespace: str = "", *, seconds: float = math.inf
    ) -> Iterator[Object | None]:
        """Yield one object as it is now and after each change, None while it doesn't exist; end after `seconds`."""
        path, query = self.path(kind, namespace), {"fieldSelector": f"metadata.name={name}"}
        deadline = time.monotonic() + seconds
        while True:
            listed = self.request("GET", path, query=query)
            yield next(iter(listed["items"]), None)
            if (left := deadline - time.monotonic()) <= 0:
                return
            since = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
            patience = None if left == math.inf else left
            if patience is not None:
                since["timeoutSeconds"] = str(math.ceil(left))
            with self.open("GET", path, query={**query, **since}, patience=patience) as response:
                yield from _changes(response)


def _changes(response: http.client.HTTPResponse) -> Iterator[Object | None]:
    """Yield the objects of a watch until it ends, for whatever reason: whoever wants to know lists again."""
    try:
        for line in response:
            event = json.loads(line)
            if event["type"] == "ERROR":  # such as 410: the revision is too old
                return
            yield None if event["type"] == "DELETED" else event["object"]
    except (OSError, http.client.HTTPException):
        return


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
