"""The environment of the user's own Python code in pods."""

import os

from aiohttp import web

from minikube_py import Cluster

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: %(name)s}}
spec:
  containers:
  - name: app
    image: acme/env
    ports: [{containerPort: 8000}]
    env:
    - {name: GREETING, value: %(greeting)s}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
"""


def make() -> web.Application:
    """An app that reads its settings as apps do: when it is made, and when it is asked."""
    greeting = os.environ["GREETING"]

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{greeting} {os.getenv('POD_NAME')} {os.environ.get('GREETING')}")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


def test_an_app_reads_its_pods_variables() -> None:
    """os.environ in a user's app is the environment that the manifest gives its pod."""
    pods = "---".join(MANIFEST % {"name": name, "greeting": word} for name, word in (("one", "hi"), ("two", "ho")))
    with Cluster(pods, images={"acme/env": make}) as cluster, cluster.client(from_pod="one") as http:
        for name, word in (("one", "hi"), ("two", "ho")):
            ip = cluster.get(f"pod/{name}")["status"]["podIP"]
            assert http.get(f"http://{ip}:8000/").text == f"{word} {name} {word}"
    assert "GREETING" not in os.environ
