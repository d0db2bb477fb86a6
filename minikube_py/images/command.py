"""`command:` a program of this machine as a pod, allowed only by being listed in the cluster's `images:`.

It is told where to listen by PORT (the first declared port; where a user may not bind it, the real one that stands
for it) and POD_IP, and must listen on that address. Its output is the container's log. It runs in a session of its
own, so that its whole process group ends with it.
Leaves out: NetworkPolicy for what it calls itself, DNS of the cluster (it sees this machine's resolver), its own root.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.images import environ
from minikube_py.images.container import Container, Main
from minikube_py.images.expansion import expand

__all__ = ["adapt"]


def adapt(target: Sequence[str], options: Mapping[str, Any]) -> Main:
    """Return the program that runs `target`; the manifest's args follow it."""
    argv = [str(word) for word in ([target] if isinstance(target, str) else target)]

    async def main(container: Container) -> int:
        port = container.extra.get("real_port", lambda port: port)(container.ports[0]) if container.ports else 0
        env = {
            **(machine := environ.machine()),
            **container.env,
            "PATH": machine.get("PATH", os.defpath),
            "POD_IP": container.pod.ip,
            "POD_NAME": container.pod.name,
            "POD_NAMESPACE": container.pod.namespace,
            **({"PORT": str(port)} if port else {}),
        }
        words = [expand(word, env) for word in (*argv, *container.args)]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env=env,
                cwd=options.get("cwd"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError:
            container.print(f'exec: "{words[0]}": executable file not found in $PATH')
            return 127
        except PermissionError:
            container.print(f'exec: "{words[0]}": permission denied')
            return 126
        container.started()
        reading = asyncio.create_task(_copy(process, container), name=f"output of {words[0]}")
        ending = asyncio.create_task(container.terminated.wait(), name=f"SIGTERM for {words[0]}")
        waiting = asyncio.create_task(process.wait(), name=f"wait for {words[0]}")
        try:
            await asyncio.wait((ending, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                _signal(process.pid, signal.SIGTERM)
            code = await waiting
        finally:
            _signal(process.pid, signal.SIGKILL)  # the rest of the group, and the process if we were cancelled
            ending.cancel()
            await asyncio.wait((waiting, reading), timeout=1.0)
            reading.cancel()
        return code if code >= 0 else 128 - code

    return main


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # all of it has ended


async def _copy(process: asyncio.subprocess.Process, container: Container) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(65536):
        container.write(chunk.decode("utf-8", "replace"))
