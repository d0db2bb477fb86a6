"""gcr.io/google-samples/node-hello: `Hello Kubernetes!` on 8080.

Source: https://github.com/GoogleCloudPlatform/nodejs-docs-samples and the Kubernetes tutorials that use it.
"""

from minikube_py.images.simple import constant

__all__ = ["IMAGES", "main"]

IMAGES = ("google-samples/node-hello", "*/google-samples/node-hello", "*/node-hello")

main = constant(lambda container, request: "Hello Kubernetes!", 8080)
