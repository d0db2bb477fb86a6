"""The real kubectl against an API server in this process; each test has a HOME of its own, because kubectl caches."""

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minikube_py import Cluster
from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver import kubeconfig
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer
from minikube_py.client.runtime import Runtime

from .netexec import pod, service, start

_numbers = itertools.count(1)


def find_kubectl() -> str:
    """Return kubectl's path; without one, fail in CI and skip elsewhere."""
    found = shutil.which("kubectl")
    if found is None:
        message = "kubectl is not on PATH: these tests drive the API server with it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class Kubectl:
    """Runs kubectl commands."""

    program: str
    home: Path
    server: APIServer
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KUBECONFIG": str(self.home / "kubeconfig"),
        }

    async def run(self, *arguments: str, stdin: str | bytes = "", timeout: float = 30) -> Result:
        """Run one command; its exit code is not judged."""
        process = await self.start(*arguments)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(data)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return Result(process.returncode or 0, out.decode(), err.decode())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            cwd=self.home,
        )
        self.started.append(process)
        return process

    async def stop(self) -> None:
        """End what a test has left running, however it ended."""
        for process in self.started:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def __call__(self, *arguments: str, stdin: str | bytes = "", timeout: float = 30) -> str:
        """Run a command that must succeed; return what it printed."""
        result = await self.run(*arguments, stdin=stdin, timeout=timeout)
        assert result.code == 0, f"kubectl {' '.join(arguments)}: {result.err}{result.out}"
        return result.out

    async def fails(self, *arguments: str, stdin: str | bytes = "") -> str:
        """Run a command that must fail; return its complaint."""
        result = await self.run(*arguments, stdin=stdin)
        assert result.code != 0, f"kubectl {' '.join(arguments)} succeeded: {result.out}"
        return result.err.strip()


@pytest.fixture(scope="session")
def kubectl_credentials() -> Credentials:
    return Credentials.create()


@pytest.fixture
def kubectl_runtime() -> None:
    """The containers behind logs, exec and port-forward; test modules that need them override this."""
    return


@pytest.fixture
async def kubectl(
    tmp_path: Path, kubectl_credentials: Credentials, kubectl_runtime: Runtime | None
) -> AsyncIterator[Kubectl]:
    """kubectl and an API server that has operations behind it and nothing else: no controllers, no kubelets."""
    program, clock = find_kubectl(), LoopClock()
    server = APIServer(
        Operations(clock, seed=1), runtime=kubectl_runtime, clock=clock, port=0, credentials=kubectl_credentials
    )
    await server.start()
    kubeconfig.write(tmp_path / "kubeconfig", "test", server.url, kubectl_credentials)
    kubectl = Kubectl(program, tmp_path, server)
    yield kubectl
    await kubectl.stop()
    await server.stop()


@dataclass(frozen=True)
class KubectlOn:
    """kubectl on a whole cluster, for tests without a loop of their own."""

    program: str
    home: Path
    kubeconfig: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": self.kubeconfig, "TERM": "xterm"}

    def run(self, *arguments: str, stdin: str = "", timeout: float = 30, **environment: str) -> Result:
        """Run one command; its exit code is not judged."""
        done = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment, **environment},
            cwd=self.home,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str = "", timeout: float = 30, **environment: str) -> str:
        """Run a command that must succeed; return what it printed."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout, **environment)
        assert result.code == 0, f"kubectl {' '.join(arguments)}: {result.err}{result.out}"
        return result.out

    def fails(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must fail; return its complaint."""
        result = self.run(*arguments, stdin=stdin)
        assert result.code != 0, f"kubectl {' '.join(arguments)} succeeded: {result.out}"
        return result.err.strip()

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command beside the test; it is ended at the end of the block."""
        with subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.home,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate()


@pytest.fixture(scope="module")
def kubectl_on(minicluster_module: Cluster, tmp_path_factory: pytest.TempPathFactory) -> KubectlOn:
    """kubectl on the module's cluster."""
    return KubectlOn(find_kubectl(), tmp_path_factory.mktemp("home"), minicluster_module.kubeconfig)


# Services of a running cluster


@pytest.fixture
def cluster(minicluster_module: Cluster) -> Cluster:
    return minicluster_module


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own in the cluster of the module."""
    name = f"case-{next(_numbers)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> str:
    """Two pods, one on each worker, behind Service `web`; its ClusterIP."""
    start(cluster, namespace, pod("one", node="worker"), pod("two", node="worker2"), service())
    return cluster.address("service/web", namespace=namespace)[0]
