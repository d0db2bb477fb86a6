"""podcli: podinfo's own prober, which its charts' probes call (`podcli check http localhost:9898/readyz`).

Leaves out: `check cert`, `ws`, `version`'s details.
"""

import asyncio

from minikube_py.images.grpc_health import check
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import connect, why_not

__all__ = ["TOOLS"]

_TIMEOUT = 5.0
"""Seconds: podcli's default is one minute, more than any probe waits."""


async def _http(target: str) -> str:
    """Return what is wrong with a URL's answer; nothing if it is fine."""
    place, _, path = target.removeprefix("http://").partition("/")
    host, _, port = place.partition(":")
    reader, writer = await connect(host or "localhost", int(port or 80))
    try:
        writer.write(f"GET /{path} HTTP/1.0\r\nHost: {place}\r\nUser-Agent: podcli\r\n\r\n".encode())
        words = (await reader.readline()).split()
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return "" if 200 <= status < 400 else f"status code {status}"
    finally:
        writer.close()


async def _podcli(p: Process) -> int:
    words = [arg for arg in p.args if not arg.startswith("-")]
    if len(words) < 3 or words[0] != "check" or words[1] not in ("http", "tcp", "grpc"):
        raise UsageError("the built-in podcli knows: podcli check http|tcp|grpc ADDRESS")
    kind, target = words[1:3]
    host, _, port = target.partition("/")[0].partition(":")
    try:
        async with asyncio.timeout(_TIMEOUT):
            if kind == "http":
                wrong = await _http(target)
            elif kind == "grpc":
                good, said = await check(host, int(port or 9999))
                wrong = "" if good else said
            else:
                (await connect(host, int(port or 80)))[1].close()
                wrong = ""
    except TimeoutError:
        wrong = "timed out"
    except (OSError, ValueError) as error:
        wrong = why_not(error) if isinstance(error, OSError) else str(error)
    await p.out(f"check failed\taddress={target}\terror={wrong}\n" if wrong else "")
    return int(bool(wrong))


TOOLS: dict[str, Tool] = {"podcli": _podcli}
