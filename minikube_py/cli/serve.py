"""Running a cluster in this process: start, apply, wait, tell, and stop on a signal.

First Ctrl-C (or SIGTERM): a graceful stop. Second: at once.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from minikube_py.apimachinery.meta import Object
from minikube_py.cli.console import ExitCode, Failure, note, step, warn
from minikube_py.cluster.state import State
from minikube_py.kinds.clusterconfig import ClusterConfig

__all__ = ["Options", "serve"]


_GARBAGE = (50_000, 100, 20)
"""Collector thresholds of this process, which is ours alone. A cluster keeps nearly all that it makes, and Python's own
(700, 10, 10) look at it again and again: a thousand pods take half as long again, four thousand twice as long. What has
survived one look is looked at again after five million more: with one, ten thousand pods take a tenth longer."""


class Options(Struct, frozen=True, kw_only=True):
    """What `up` was asked for."""

    config: ClusterConfig
    objects: list[Object]
    state: State
    patience: float
    """Seconds to wait for readiness; 0 does not wait."""
    kubeconfig: str | None
    child: tuple[str, ...]
    strict: bool


def serve(options: Options, *, ready: Callable[[dict[str, Any]], None]) -> int:
    """Run the cluster until it is told to stop; return the exit code.

    Error handling: Failure in one sentence for ports and addresses that are taken, manifests that the API refuses,
    and pods that don't get ready in time.
    """
    from minikube_py.cni.podloop import new_event_loop

    gc.set_threshold(*_GARBAGE)
    if not logging.getLogger().handlers:
        shown = logging.StreamHandler()
        shown.setLevel(logging.WARNING)  # on the handler: what kube-system's pods show is at INFO
        shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logging.getLogger().addHandler(shown)
        logging.getLogger("minikube_py").setLevel(logging.INFO)
    with suppress(FileNotFoundError):  # a folder that somebody has removed
        sys.path.append(os.getcwd())  # `images:` names modules of the user's project; last: they hide none of ours
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(options, ready))


class _Stop:
    """The signals as an event: the first asks, the second does not."""

    def __init__(self, state: State) -> None:
        self.asked = asyncio.Event()
        self.signal: int | None = None
        self._state = state
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: int) -> None:
        if self.asked.is_set():
            from minikube_py.kubelet.processes import end_programs

            end_programs()
            self._state.release()
            os._exit(ExitCode.INTERRUPTED)
        self.signal = number
        self.asked.set()

    @property
    def code(self) -> int:
        return ExitCode.INTERRUPTED if self.signal == signal.SIGINT else ExitCode.OK


async def _serve(options: Options, ready: Callable[[dict[str, Any]], None]) -> int:
    from minikube_py.cluster.local import LocalCluster, StartError

    begun = time.perf_counter()
    stop = _Stop(options.state)
    name = options.config.name
    cluster = LocalCluster(options.config, state_dir=options.state.path)
    starting = asyncio.ensure_future(_bring_up(cluster, options, begun))
    stopping = asyncio.ensure_future(stop.asked.wait())
    code: int = ExitCode.OK
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return stop.code
        try:
            starting.result()
        except StartError as error:
            raise Failure(str(error), error.code) from None
        await cluster.kubeconfig()
        facts = cluster.facts()
        options.state.write(facts)
        ready(facts)
        if options.child:
            code = await _run_child(options, facts, stop)
        else:
            await stop.asked.wait()
            code = stop.code
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        if stop.signal is not None and sys.stderr.isatty():
            note(f'\nStopping "{name}" (Ctrl-C again to force) ...')
        await cluster.stop()
        if stop.signal is not None and not options.child:
            step("pods terminated, sockets closed")
    return code


async def _bring_up(cluster: Any, options: Options, begun: float) -> None:
    from minikube_py.cluster.apply import ApplyError
    from minikube_py.cluster.local import StartError
    from minikube_py.cluster.waiting import WaitHopeless

    config = options.config
    note(f'Creating cluster "{config.name}" ({cluster.node_count} nodes, in this process) ...')
    await cluster.start()
    step(f"DNS           {cluster.dns_address[0]}:{cluster.dns_address[1]}")
    for name in config.ingress.asked:
        warn(f"ingress controller {name} runs too: a manifest asks for class {name}; a real cluster has to install it")
    for name in cluster.create_missing_namespaces(options.objects, strict=options.strict):
        warn(f'namespace "{name}" was created: no manifest has it, and a real cluster would refuse what is in it')
    try:
        applied = cluster.apply(options.objects)
    except ApplyError as error:
        raise StartError(str(error)) from None
    if applied:
        step(f"{len(applied)} object{'' if len(applied) == 1 else 's'} applied")
    await cluster.serve_api()
    step(f"API server    {cluster.api_url}")
    if options.kubeconfig:
        cluster.write_kubeconfig(options.kubeconfig)
    if options.patience:
        try:
            await cluster.wait_ready(options.patience)
        except WaitHopeless as error:
            raise StartError(f"not ready {error}", ExitCode.USAGE) from None
        except TimeoutError as error:
            text = (
                f"not ready {error}\nThe cluster is stopped; to keep it as it is and look into it: mkpy up --wait 0 ..."
            )
            raise StartError(text, ExitCode.TIMEOUT) from None
        pods = cluster.operations.list("pods")
        step(f"{len(pods)} pods ready   {time.perf_counter() - begun:.2f} s")
    for problem in cluster.problems():
        warn(str(problem))
    for wanted, port in (
        (config.ingress.http_port, cluster.http_port),
        (config.ingress.https_port, cluster.https_port),
    ):
        if config.ingress.enabled and port != wanted:
            warn(f"127.0.0.1:{wanted} is taken: the ingress is on {port} instead")
    if line := cluster.port_notice():
        warn(line)


async def _run_child(options: Options, facts: dict[str, Any], stop: _Stop) -> int:
    """Run CMD with the cluster's environment; pass signals on; return its code (128 + n for signal n)."""
    from minikube_py.cli.env import variables

    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))  # mkpy itself
    try:
        process = await asyncio.create_subprocess_exec(
            *options.child, env={**os.environ, "PATH": path, **variables(facts)}
        )
    except OSError as error:
        raise Failure(f"{options.child[0]}: {error.strerror}", 127) from None
    ended = asyncio.ensure_future(process.wait())
    asked = asyncio.ensure_future(stop.asked.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.send_signal(stop.signal or signal.SIGTERM)
        await asyncio.wait({ended}, timeout=5)
        if not ended.done():
            process.kill()
    asked.cancel()
    code = await ended
    return code if code >= 0 else 128 - code
