"""Each kubectl from 1.28 to 1.33 against the server, where kubectl is the dispatcher that carries them all.

Google's dispatcher asks the server for its version and runs the kubectl of that version; a plain kubectl runs itself.
"""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: paint}
data: {colour: blue}
"""


@pytest.fixture(params=["1.28", "1.29", "1.30", "1.31", "1.32", "1.33"])
def version(request: pytest.FixtureRequest, kubectl: Any) -> str:
    kubectl.server._version = f"{request.param}.4"
    return str(request.param)


async def test_the_daily_commands(kubectl: Any, version: str) -> None:
    """Generators, apply, diff, get, describe, patch, scale, explain, delete: whatever the client puts on the wire."""
    k = kubectl
    assert f"Server Version: v{version}." in await k("version")
    await k("create", "deployment", "web", "--image=nginx:1.27", "--replicas=2", "--port=80")
    await k("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert await k("apply", "-f", "-", stdin=CONFIG) == "configmap/paint created\n"
    assert await k("apply", "-f", "-", stdin=CONFIG) == "configmap/paint unchanged\n"
    changed = CONFIG.replace("blue", "red")
    assert (await k.run("diff", "-f", "-", stdin=changed)).code == 1
    assert await k("apply", "-f", "-", stdin=changed) == "configmap/paint configured\n"
    assert await k("apply", "--server-side", "-f", "-", stdin=changed) == "configmap/paint serverside-applied\n"
    assert "deployment.apps/web\nservice/web\n" in await k("get", "deploy,svc", "-o", "name", "-l", "app=web")
    assert "nginx:1.27" in await k("describe", "deployment", "web")
    await k("set", "image", "deploy/web", "nginx=nginx:1.28")
    await k("patch", "deploy", "web", "-p", '{"spec":{"paused":true}}')
    assert await k("scale", "deploy/web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert await k("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert "containerPort" in await k("explain", "pod.spec.containers.ports")
    assert (await k("auth", "can-i", "create", "pods")).strip() == "yes"
    assert await k("delete", "svc", "web") == 'service "web" deleted\n'
    assert await k.fails("get", "svc", "web") == 'Error from server (NotFound): services "web" not found'
