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
    done = _pytest(tmp_path)
    assert done.returncode == 1
    assert "minicluster: after 3 s: " in done.stdout, done.stdout
    assert "default: pod/web is Pending" in done.stdout
    assert "did you mean" in done.stdout
    assert 'minicluster: the marker has no option "node"; did you mean "nodes"?' in done.stdout
    assert "3 errors" in done.stdout, done.stdout
    assert "1 passed" in done.stdout  # its document lies beside it
    assert "handles.py" not in done.stdout


FAILING = """
import pytest

@pytest.mark.minicluster("apiVersion: v1\\nkind: Pod\\nmetadata: {name: web}\\n"
    "spec: {containers: [{name: c, image: nginx}]}")
def test_wait(minicluster):
    minicluster.wait("pod/wbe", timeout=0.2)
"""


def test_the_report_of_our_own_error_ends_at_the_tests_line(tmp_path: Path) -> None:
    """None of our frames stand between the line that failed and its reason; system pods that are well aren't listed."""
    (tmp_path / "test_it.py").write_text(FAILING)
    done = _pytest(tmp_path)
    assert done.returncode == 1
    assert 'minicluster.wait("pod/wbe", timeout=0.2)' in done.stdout
    assert "handles.py" not in done.stdout
    assert "session.py" not in done.stdout
    assert "default/web  Ready" in done.stdout
    assert "kube-system/" not in done.stdout, done.stdout


def _pytest(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
