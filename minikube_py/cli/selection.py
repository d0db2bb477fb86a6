"""Which cluster a command is about, and how it talks to it."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cluster.state import State, running

__all__ = ["cluster_option", "selected"]

F = TypeVar("F", bound=Callable[..., Any])


def cluster_option(function: F) -> F:
    """Add `-c/--name`, which `MKPY_CLUSTER` presets."""
    return click.option(
        "-c",
        "--name",
        "name",
        default=lambda: os.environ.get("MKPY_CLUSTER", "default"),
        metavar="NAME",
        help="The cluster (default: default, or $MKPY_CLUSTER).",
    )(function)


def selected(name: str) -> tuple[State, dict[str, Any]]:
    """Return the running cluster of this name and its addresses.

    Error handling: Failure with exit code 3 that says what runs instead.
    """
    state = _state(name)
    if not state.running():
        others = [other.name for other, _ in running()]
        hint = f"running: {', '.join(others)} (choose with --name)" if others else "start one: mkpy up -d -f FILE"
        raise Failure(f'no cluster "{name}" is running; {hint}', ExitCode.NO_CLUSTER)
    facts = state.read()
    if not facts:
        raise Failure(f'cluster "{name}" is still starting; try again in a moment', ExitCode.NO_CLUSTER)
    return state, facts


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError as error:
        raise Failure(str(error), ExitCode.USAGE) from None
