"""What a start costs that never runs a command: neither the shell nor its grammar is loaded."""

import json
import subprocess
import sys

import pytest

_TELL = "import json, sys; print(json.dumps([n for n in sys.modules if 'tree_sitter' in n or '.images.shell' in n]))"
_CLUSTER = """
from minikube_py import Cluster

def pod(name, image, **more):
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80}], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}

pods = [
    pod("whoami", "traefik/whoami", readinessProbe={"httpGet": {"port": 80}}),
    pod("nginx", "nginx"),
    pod("redis", "redis"),
    pod("postgres", "postgres"),
    pod("unknown", "example.com/team/app:1", livenessProbe={"tcpSocket": {"port": 80}}),
    pod("args", "hashicorp/http-echo", args=["-text=hello"]),
]
with Cluster(*pods) as c:
    c.wait("pod/whoami")
"""


def _loaded(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", f"{program}\n{_TELL}"], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "program",
    [
        "import minikube_py.images.catalog",
        "import minikube_py.cluster.composition",
        "import minikube_py.cli",
        pytest.param(_CLUSTER, id="a cluster of stand-ins"),
    ],
)
def test_nothing_of_the_shell_is_loaded(program: str) -> None:
    """Most pods never run a command; those that don't don't pay for the shell."""
    assert _loaded(program) == []


def test_the_shell_itself_loads_neither_tools_nor_grammar() -> None:
    """A tool's module is loaded when it is called, tree-sitter when a script is read."""
    loaded = _loaded("import minikube_py.images.shell")
    assert [name for name in loaded if "tree_sitter" in name or ".shell.tools." in name] == []


def test_a_tool_loads_only_what_it_needs() -> None:
    """wget doesn't pay for curl, nslookup not for dig."""
    find = "from minikube_py.images.shell import tools; tools.find('wget'); tools.find('nslookup')"
    loaded = {name.rpartition(".")[2] for name in _loaded(find) if ".shell.tools." in name}
    assert loaded == {"dns_question", "exchange", "network", "nslookup", "options", "wget"}
