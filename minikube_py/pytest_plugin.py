"""The pytest plugin: a fresh cluster for each test.

    @pytest.mark.minicluster("k8s/")
    def test_menu(minicluster): ...

`minicluster` is a `Cluster` of its own for each test (also under xdist); `minicluster_module` and
`minicluster_session` are shared by a module or the session. The marker takes paths (relative to the test file, else
to the root folder), YAML text, and the options of `Cluster`. Override the fixtures `minicluster_images`,
`minicluster_config` and `minicluster_manifests` (all of session scope) to say what every cluster gets.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from minikube_py.testing import Cluster

_CLUSTERS = pytest.StashKey[list[Any]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "minicluster(*manifests, **options): what the test's minicluster is made of (minikube-py)"
    )


@pytest.fixture(scope="session")
def minicluster_images() -> dict[str, Any]:
    """Image pattern → what runs, for every cluster; override it."""
    return {}


@pytest.fixture(scope="session")
def minicluster_config() -> Any:
    """A `kind: Cluster` document (path, YAML text or dict) for every cluster; override it."""
    return None


@pytest.fixture(scope="session")
def minicluster_manifests() -> tuple[Any, ...]:
    """Manifests that every cluster starts with; override it."""
    return ()


def _located(source: Any, request: pytest.FixtureRequest) -> Any:
    """Find a relative path beside the test file or under the root folder."""
    if not isinstance(source, str | Path) or "\n" in str(source):
        return source
    for base in (Path(str(request.path)).parent, request.config.rootpath, Path.cwd()):
        if (base / source).exists():
            return base / source
    return source


def _refuse_unknown(given: Iterable[str], cluster: type) -> None:
    """Fail the test whose marker has an option that `Cluster` doesn't know."""
    import inspect

    from minikube_py.apimachinery.names import nearest

    known = [name for name, each in inspect.signature(cluster).parameters.items() if each.kind is each.KEYWORD_ONLY]
    known = [name for name in known if not name.startswith("_")]
    for option in given:
        if option not in known:
            near = nearest(option, known)
            hint = f'did you mean "{near}"?' if near else f"there are {', '.join(known)}"
            pytest.fail(f'minicluster: the marker has no option "{option}"; {hint}', pytrace=False)


def _cluster(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    from minikube_py.apimachinery.errors import StatusError
    from minikube_py.apimachinery.manifests import ManifestError
    from minikube_py.cluster.composition import StartError
    from minikube_py.cluster.settings import InvalidConfig
    from minikube_py.cluster.waiting import WaitTimeout
    from minikube_py.images.catalog import BadMapping
    from minikube_py.testing import Cluster

    mark = request.node.get_closest_marker("minicluster")
    options: dict[str, Any] = {
        "images": request.getfixturevalue("minicluster_images"),
        "config": request.getfixturevalue("minicluster_config"),
    }
    manifests = [_located(source, request) for source in request.getfixturevalue("minicluster_manifests")]
    if mark:
        manifests += [_located(source, request) for source in mark.args]
        _refuse_unknown(mark.kwargs, Cluster)
        extra = mark.kwargs.get("images") or {}
        options = {**options, **mark.kwargs, "images": {**options["images"], **extra}}
    options["config"] = _located(options["config"], request)
    try:
        cluster = Cluster(*manifests, **options).start()
    except (ManifestError, InvalidConfig, BadMapping, StartError, StatusError, WaitTimeout) as error:
        reason = str(error)
    else:
        reason = ""
    if reason:  # outside of `except`: neither stack says anything to the test's author
        pytest.fail(f"minicluster: {reason}", pytrace=False)
    with cluster:
        request.node.stash.setdefault(_CLUSTERS, []).append(cluster)
        try:
            yield cluster
        finally:
            request.node.stash[_CLUSTERS].remove(cluster)


@pytest.fixture
def minicluster(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """A fresh cluster for this test."""
    yield from _cluster(request)


@pytest.fixture(scope="module")
def minicluster_module(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """One cluster for the tests of a module (its `pytestmark` may carry the marker)."""
    yield from _cluster(request)


@pytest.fixture(scope="session")
def minicluster_session(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """One cluster for the whole session (for each worker, under xdist)."""
    yield from _cluster(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Keep what pods print apart from what the test prints: pytest has just put its own streams in place."""
    if output := sys.modules.get("minikube_py.kubelet.output"):  # else no cluster has been started
        output.renew()


def _leave_out_ours(call: pytest.CallInfo[None]) -> None:
    """Cut our frames off an error whose message is for the test's author; other errors in them may be our bugs."""
    error = call.excinfo
    if error is None or "minikube_py.cluster" not in sys.modules:
        return
    from minikube_py.apimachinery.errors import StatusError
    from minikube_py.cluster.targets import UnknownTarget
    from minikube_py.cluster.waiting import WaitTimeout

    if not isinstance(error.value, (StatusError, UnknownTarget, WaitTimeout)):
        return
    at = error.tb
    while (below := at.tb_next) is not None:
        if str(below.tb_frame.f_globals.get("__name__")).partition(".")[0] == "minikube_py":
            at.tb_next = None
            error.value.__cause__ = None  # what we caught on the way has our frames, too
            return
        at = below


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add what is wrong in the test's cluster to the report of a failed test, which ends at the test's own line."""
    _leave_out_ours(call)
    outcome: Any = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    for node in item.listchain():
        for cluster in node.stash.get(_CLUSTERS, []):
            try:
                for title, text in cluster.local.failure_report():
                    report.sections.append((f"{title} (minicluster {cluster.name})", text))
            except Exception as error:  # a report must never hide the test's own failure
                report.sections.append(("minicluster", f"no report: {error!r}"))
