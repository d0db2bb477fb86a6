"""`mkpy down`: stop a cluster."""

import os
import signal
import time

import click

from minikube_py.cli.console import Failure, note, step
from minikube_py.cli.selection import cluster_option
from minikube_py.cluster.state import State, running

_PATIENCE = 15.0
"""Seconds for a graceful stop before the process is killed."""


@click.command("down")
@cluster_option
@click.option("--all", "everything", is_flag=True, help="Stop every cluster of this user.")
def command(name: str, everything: bool) -> None:
    """Stop a cluster; fine if there is none."""
    states = [state for state, _ in running()] if everything else [_named(name)]
    if not states:
        note("No clusters are running.")
    for state in states:
        if pid := state.running():
            stop(state, pid)
            step(f'cluster "{state.name}" stopped')
        else:
            note(f'No cluster "{state.name}" is running.')


def _named(name: str) -> State:
    try:
        return State(name)
    except ValueError as error:
        raise Failure(str(error), 2) from None


def stop(state: State, pid: int) -> None:
    """Ask the process to stop, then insist; return when its lock is free."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + _PATIENCE
        while state.running():
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            break
    else:
        raise Failure(f'cluster "{state.name}" (pid {pid}) does not end; stop that process by hand')
    try:
        state.acquire()  # what a killed process left behind
    except Exception:
        return  # another cluster of the name starts already: the folder is its
    state.release()
