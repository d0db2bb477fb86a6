"""`mkpy up`: a cluster in this process, in the foreground, in the background (-d), or around a command (-- CMD)."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from minikube_py.cli.console import ExitCode, Failure, note
from minikube_py.cli.validate import checked
from minikube_py.cluster.state import ClusterExists, State

__all__ = ["duration"]


def duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Read `30s`, `500ms`, `2m`, `1m30s` or plain seconds."""
    import re

    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise click.BadParameter(f'"{value}" is not a duration such as 30s or 2m')
    return sum(float(number) * units[unit] for number, unit in parts)


@click.command("up", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": True})
@click.option("-f", "--filename", "paths", multiple=True, metavar="PATH", help="Manifests: a file, a folder, or - .")
@click.option("-c", "--name", "name", default=None, metavar="NAME", help="The cluster's name (default: default).")
@click.option("--nodes", type=click.IntRange(1, 100), default=None, help="How many nodes, control plane included.")
@click.option("--config", "config", default=None, metavar="FILE", help="A file with a `kind: Cluster` document.")
@click.option("-d", "--detach", is_flag=True, help="Return once all is ready; the cluster goes on.")
@click.option(
    "--wait",
    "patience",
    default="30s",
    callback=duration,
    metavar="DURATION",
    help="How long to wait for readiness (default 30s; 0 does not wait).",
)
@click.option("--kubeconfig", "kubeconfig", default=None, metavar="PATH", help="Write the kubeconfig here as well.")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Format of the addresses.")
@click.argument("child", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD...]")
def command(
    paths: tuple[str, ...],
    name: str | None,
    nodes: int | None,
    config: str | None,
    detach: bool,
    patience: float,
    kubeconfig: str | None,
    strict: bool,
    output: str,
    child: tuple[str, ...],
) -> int:
    """Start a cluster in this process and apply manifests to it.

    It stays in the foreground until Ctrl-C. With -d it returns once all is ready. With -- CMD it runs CMD against
    the ready cluster, stops, and exits with CMD's status.
    """
    from minikube_py.cluster.settings import InvalidConfig, settings

    if child and detach:
        raise Failure("-d and -- CMD exclude each other: a command needs the cluster only as long as it runs", 2)
    loaded, _ = checked((*paths, *((config,) if config else ())), strict=strict)
    try:
        wanted, objects = settings([manifest.object for manifest in loaded], name=name, nodes=nodes, strict=strict)
    except InvalidConfig as error:
        raise Failure(str(error), ExitCode.USAGE) from None
    try:
        state = State(wanted.name)
    except ValueError as error:
        raise Failure(str(error), ExitCode.USAGE) from None
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the cluster listens to them
        signal.signal(number, _end)
    try:
        _acquire(state)
        from minikube_py.cli.serve import Options, serve

        options = Options(
            config=wanted,
            objects=objects,
            state=state,
            patience=patience,
            kubeconfig=kubeconfig,
            child=child,
            strict=strict,
        )
        if detach:
            return _detached(options, output)
        return serve(options, ready=lambda facts: None if child else _report(facts, output, detached=False))
    finally:
        state.release()


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _acquire(state: State) -> None:
    """Become the cluster of this name, or say in one sentence why not."""
    try:
        state.acquire()
    except OSError as error:
        raise Failure(
            f"the state folder can't be used: {error}; set XDG_RUNTIME_DIR to a folder of your own", ExitCode.USAGE
        ) from None
    except ClusterExists as error:
        raise Failure(
            f"{error}.\n  use it: mkpy apply -f FILE    stop it: mkpy down -c {error.name}"
            f"    another: mkpy up --name {error.name}2",
            ExitCode.USAGE,
        ) from None


def _detached(options: Any, output: str) -> int:
    """Fork: the child becomes the cluster, the parent waits for its word and returns.

    A fork rather than a new program: everything is imported already, and no thread runs yet.
    """
    from minikube_py.cli.serve import serve

    reading, writing = os.pipe()
    state: State = options.state
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        state.forget()
        with os.fdopen(reading) as pipe, _ends_with_us(pid):
            answer = json.loads(pipe.read() or "{}")
        if "facts" not in answer:
            os.waitpid(pid, 0)
            raise Failure(
                answer.get("error") or f"the cluster ended while it started; see {state.log}",
                answer.get("code", ExitCode.BUG),
            )
        _report(answer["facts"], output, detached=True)
        return ExitCode.OK
    code: int = ExitCode.OK
    told = False
    os.close(reading)
    os.setsid()

    def tell(answer: dict[str, Any]) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(writing, json.dumps(answer).encode())
            os.close(writing)

    try:
        state.write_pid()
        log = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.close(null)

        def ready(facts: dict[str, Any]) -> None:
            os.dup2(log, 2)  # progress of the start still went to the caller's terminal
            os.close(log)
            tell({"facts": facts})

        code = serve(options, ready=ready)
    except Failure as failure:
        tell({"error": str(failure), "code": failure.code})
    except BaseException as error:  # the parent waits for a word: it must get one, whatever happened
        tell({"error": f"{type(error).__name__}: {error}; see --debug", "code": int(ExitCode.BUG)})
    finally:
        tell({})
        state.release()
        os._exit(code)


@contextmanager
def _ends_with_us(pid: int) -> Iterator[None]:
    """End the cluster in process `pid`, and wait for it, when the block is interrupted; at once if that is, too."""
    try:
        yield
    except BaseException:
        while True:
            try:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
                break
            except (KeyboardInterrupt, SystemExit):
                continue
        raise


def _report(facts: dict[str, Any], output: str, *, detached: bool) -> None:
    if output == "json":
        click.echo(json.dumps(facts, indent=2))
    else:
        from minikube_py.cli.report import addresses

        click.echo(addresses(facts))
        if detached:
            name = facts["name"]
            chosen = "" if name == "default" else f" -c {name}"
            note(f'next: eval "$(mkpy env{chosen})"    stop it: mkpy down{chosen}')
        else:
            note("Ctrl-C stops everything.")
    sys.stdout.flush()
