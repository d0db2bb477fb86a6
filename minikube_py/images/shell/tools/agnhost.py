"""agnhost in a container of its image: `kubectl exec POD -- /agnhost connect host:port`."""

import asyncio
from dataclasses import replace

from minikube_py.images import agnhost
from minikube_py.images.shell.process import Process, Tool

__all__ = ["TOOLS"]


async def _agnhost(p: Process) -> int:
    """Run a subcommand with its output to the caller, and lifetime of its own."""
    written: list[str] = []
    inner = replace(
        p.container,
        command=tuple(p.argv),
        args=(),
        write=written.append,
        terminated=asyncio.Event(),
        ready=asyncio.Event(),
    )
    running = asyncio.ensure_future(agnhost.main(inner))
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=0.05)
            while written:
                await p.out(written.pop(0))
        code = running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for text in written:
        await p.out(text)
    return code or 0


TOOLS: dict[str, Tool] = {"agnhost": _agnhost}
