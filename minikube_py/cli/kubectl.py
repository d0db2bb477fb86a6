"""`mkpy get`, `logs`, `apply` …: handed over to kubectl; without kubectl, the common cases are built in."""

import os
import shutil
from typing import Any

import click

from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cli.selection import selected

__all__ = ["command_for"]

_CONTAINER = frozenset({"logs", "exec", "kubectl"})
"""Where `-c` is kubectl's own: the container. Elsewhere it is the cluster, as everywhere in mkpy."""


def command_for(verb: str) -> click.Command:
    """Return the command of one kubectl verb; `kubectl` itself takes any."""

    @click.command(
        verb,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
        help=f"kubectl {'…' if verb == 'kubectl' else verb + ' …'}, on the cluster of --name (default: $MKPY_CLUSTER).",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> int:
        name, rest = _cluster_of(list(arguments), ("--name",) if verb in _CONTAINER else ("-c", "--name"))
        words = rest if verb == "kubectl" else [verb, *rest]
        kubectl = shutil.which("kubectl")
        asks = not {"-h", "--help"}.isdisjoint(words[: words.index("--")] if "--" in words else words)
        facts = {} if kubectl and asks else selected(name)[1]  # help needs no cluster
        if kubectl:
            return _hand_over(kubectl, words, facts)
        if verb == "kubectl":
            raise Failure(
                "kubectl is not installed; built in are: "
                "get, describe, logs, exec, apply, delete, scale, rollout status, wait",
                ExitCode.USAGE,
            )
        from minikube_py.cli.builtin import run

        return run(words, facts)

    return command


def _cluster_of(arguments: list[str], options: tuple[str, ...]) -> tuple[str, list[str]]:
    """Take the cluster's name, which follows one of `options`, out of kubectl's arguments; all behind `--` stays."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    name = os.environ.get("MKPY_CLUSTER", "default")
    rest: list[str] = []
    index = 0
    while index < end:
        word = arguments[index]
        if word in options and index + 1 < end:
            name = arguments[index + 1]
            index += 2
            continue
        if word.startswith("--name="):
            name = word.removeprefix("--name=")
        else:
            rest.append(word)
        index += 1
    return name, rest + arguments[end:]


def _hand_over(kubectl: str, words: list[str], facts: dict[str, Any]) -> int:
    """Become kubectl: its output, its exit code, its terminal."""
    ours = {"KUBECONFIG": facts["kubeconfig"]} if facts else {}
    os.execve(kubectl, ["kubectl", *words], {**os.environ, **ours})
