"""Load from `wrk`, a C program of its own process (Debian: apt-get install wrk), and what each request costs."""

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Load", "Measured", "cpu_seconds", "measure"]

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """What callers do, over and over."""

    title: str
    path: str = "/"
    host: str = "shop.test"
    callers: int = 32
    anew: bool = False
    """A new connection for each request."""
    secure: bool = False
    body: int = 0
    """Bytes that each request carries (a POST then)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One round."""

    rate: float
    """Requests per second."""
    p50: float
    """Microseconds, as `p99` and `cpu`."""
    p99: float
    cpu: float
    """Of the server, for one request."""
    errors: tuple[str, ...] = field(default=())


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has had, its children left out."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def measure(load: Load, address: str, port: int, process: int, *, seconds: int, folder: Path) -> Measured:
    """Put `load` on a server, whose CPU time is that of `process`."""
    script = folder / f"body-{load.body}.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {load.body})\n' if load.body else "")
    flags = ["-t1", f"-c{load.callers}", f"-d{seconds}s", "--latency", "-s", str(script), "-H", f"Host: {load.host}"]
    if load.anew:
        flags += ["-H", "Connection: close"]
    before = cpu_seconds(process)
    wrk = await asyncio.create_subprocess_exec(
        "wrk", *flags, f"{'https' if load.secure else 'http'}://{address}:{port}{load.path}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    text = (await wrk.communicate())[0].decode()
    spent = cpu_seconds(process) - before
    total = re.search(r"(\d+) requests in", text)
    count = int(total[1]) if total else 0
    if not count:
        raise RuntimeError(f"{load.title}: no request was answered: {text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    late = {percent: float(value) * _UNITS[unit] for percent, value, unit in
            re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)\b", text)}  # fmt: skip
    errors = re.findall(r"Socket errors: .*|Non-2xx.*", text)
    return Measured(
        float(rate[1]) if rate else 0.0, late.get("50", 0.0), late.get("99", 0.0), spent / count * 1e6, tuple(errors)
    )
