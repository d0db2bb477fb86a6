"""gcr.io/google-samples/hello-app: `Hello, world!` with its version and hostname.

Source: https://github.com/GoogleCloudPlatform/kubernetes-engine-samples (quickstarts/hello-app).
"""

from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.reference import Reference
from minikube_py.images.simple import constant

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("*/google-samples/hello-app", "*/google_samples/hello-app", "*/hello-app")


def _text(container: Container, request: "web.BaseRequest") -> str:
    tag = Reference.parse(container.image).tag
    version = f"{tag}.0" if tag.count(".") == 1 else "1.0.0" if tag == "latest" else tag
    return f"Hello, world!\nVersion: {version}\nHostname: {container.pod.hostname}\n"


main = constant(_text, 8080)
