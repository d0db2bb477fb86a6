"""The pytest plugin, as its user's pytest runs it."""

import subprocess
import sys
from pathlib import Path

TEST = """
import pytest

@pytest.mark.minicluster("apiVersion: v1\\nkind: Pod\\nmetadata: {name: web}\\n"
    "spec: {containers: [{name: c, image: acme/none}]}", images={"acme/none": {"absent": True}}, wait=3)
def test_menu(minicluster):
    pass

@pytest.mark.minicluster("apiVersion: v1\\nkind: Pod\\nmetadata: {name: web}\\nspec: {contaners: []}")
def test_typing_error(minicluster):
    pass

@pytest.mark.minicluster(node=3)
def test_option(minicluster):
    pass

@pytest.mark.minicluster(config="one.yaml")
def test_config(minicluster):
    assert len(minicluster.get("nodes")) == 1
"""


def test_a_cluster_that_does_not_start_says_why_without_our_stack(tmp_path: Path) -> None:
    """A test whose cluster can't start shows the reason alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_shop.py").write_text(TEST)
    (tmp_path / "deep" / "one.yaml").write_text("apiVersion: minikube-py/v1alpha1\nkind: Cluster\nnodes: 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 1
    assert "minicluster: after 3 s: " in done.stdout, done.stdout
    assert "default: pod/web is Pending" in done.stdout
    assert "did you mean" in done.stdout
    assert 'minicluster: the marker has no option "node"; did you mean "nodes"?' in done.stdout
    assert "3 errors" in done.stdout, done.stdout
    assert "1 passed" in done.stdout  # its document lies beside it
    assert "handles.py" not in done.stdout
