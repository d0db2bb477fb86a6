"""What mkpy takes of kubectl's arguments for itself."""

import pytest

from minikube_py.cli import kubectl


@pytest.mark.parametrize(
    ("verb", "arguments", "name", "rest"),
    [
        pytest.param("get", ["-c", "two", "pods"], "two", ["pods"], id="get: -c is the cluster"),
        pytest.param("get", ["pods", "--name=two"], "two", ["pods"], id="get: --name="),
        pytest.param("logs", ["web", "-c", "side"], "default", ["web", "-c", "side"], id="logs: -c is the container"),
        pytest.param("exec", ["--name", "two", "web", "--", "sh", "-c", "id"], "two", ["web", "--", "sh", "-c", "id"]),
        pytest.param("delete", ["pod", "--", "-c"], "default", ["pod", "--", "-c"], id="behind -- all is kubectl's"),
    ],
)
def test_the_cluster_is_chosen_before_kubectl_sees_the_arguments(
    verb: str, arguments: list[str], name: str, rest: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-c` selects the cluster wherever kubectl has no `-c` of its own; `--name` does everywhere."""
    monkeypatch.delenv("MKPY_CLUSTER", raising=False)
    asked: list[object] = []
    monkeypatch.setattr(kubectl.shutil, "which", lambda _: "/kubectl")
    monkeypatch.setattr(kubectl, "selected", lambda chosen: asked.append(chosen) or (None, {}))
    monkeypatch.setattr(kubectl, "_hand_over", lambda _, words, __: asked.append(words) or 0)
    kubectl.command_for(verb).main([*arguments], standalone_mode=False)
    assert asked == [name, [verb, *rest]]
