"""matrix: the truth table is decide's, cell by cell."""

from typing import Any

from minikube_py.cni.addresses import Addresses
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.matrix import matrix


def pod(name: str, index: int, namespace: str = "shop", *ports: tuple[int, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [{"ports": [{"containerPort": port, "protocol": proto} for port, proto in ports]}]},
        "status": {"podIP": f"127.244.1.{index}"},
    }


def policy(name: str, app: str, ingress: list[Any]) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {"app": app}}, "ingress": ingress}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
API = {"podSelector": {"matchLabels": {"app": "api"}}}
WORLD = PolicySet.of(
    Addresses(),
    pods=[pod("web", 1, "shop", (80, "TCP")), pod("api", 2, "shop", (8080, "TCP"), (9, "UDP")), pod("db", 3)],
    policies=[
        policy("db", "db", [{"from": [API]}]),
        policy("api", "api", [{"from": [WEB], "ports": [{"port": 8080}]}]),
    ],
)


def test_render() -> None:
    """Dots, crosses, and the ports where only some are open."""
    assert matrix(WORLD).render() == (
        "         api   db  web\n"
        "api      -     .   .\n"
        "db       X     -   .\n"
        "web      8080  X   -\n"
        "outside  X     X   .\n"
        "\n"
        ". allowed   X denied   numbers: only these ports   - itself"
    )


def test_chosen_ports_and_callers() -> None:
    """Ports may be asked for, and outsiders left out."""
    table = matrix(WORLD, ports=[(9, "UDP")], outside=())
    assert table.sources == ("shop/api", "shop/db", "shop/web")
    assert table.cells["shop/web", "shop/api"].symbol == "X"


def test_namespaces() -> None:
    """With several namespaces names are written in full; one may be asked for alone."""
    wide = WORLD.with_pod(pod("job", 4, "ops"))
    assert "ops/job" in matrix(wide).render()
    assert matrix(wide, namespace="ops", outside=()).destinations == ("ops/job",)


def test_json_names_the_policies() -> None:
    """Every cell says why."""
    entries = {(e["from"], e["to"], e["port"]): e for e in matrix(WORLD).as_json()}
    denied = entries["shop/db", "shop/api", 8080]
    assert not denied["allowed"]
    assert denied["policies"] == ["shop/api"]
    assert "app=db" in denied["because"]
    assert ("shop/db", "shop/db", 80) not in entries
