"""ping and traceroute, without ICMP.

An address answers if it is a pod's or a node's of this cluster and the pod's policies let anything pass to it. A
Service's cluster IP does not answer, as with kube-proxy in iptables mode. Leaves out: addresses beyond the cluster,
and the hops within it (every pod is one hop away).
"""

import asyncio
import time

from minikube_py.cni.types import Flow
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import address_of, namespace
from minikube_py.images.shell.tools.options import Options, read_options

__all__ = ["TOOLS"]


def _answers(address: str) -> bool:
    """Tell whether an address of the cluster answers pings from here."""
    here = namespace()
    if here is None:
        return False
    fabric = here.fabric
    if address in (here.ip, "127.0.0.1"):
        return True
    if fabric.addresses.is_service(address):
        return False
    alive = any(other.ip == address and not other.closed for other in fabric.namespaces)
    if not alive and not _is_node(address):
        return False
    return fabric.gate.check(Flow(here.ip, address, 0, "ICMP")).allowed


def _is_node(address: str) -> bool:
    here = namespace()
    assert here is not None
    addresses = here.fabric.addresses
    return addresses.contains(address) and not addresses.is_pod(address) and not addresses.is_service(address)


async def _target(options: Options, usage: str) -> tuple[str, str]:
    """Return the host of the command line and its address; UsageError if there is none."""
    if not options.rest:
        raise UsageError(usage)
    try:
        return options.rest[0], await address_of(options.rest[0])
    except OSError:
        raise UsageError(f"bad address '{options.rest[0]}'") from None


async def _ping(p: Process) -> int:
    options = read_options(p.args, "c:i:w:W:s:qnt:I:4A")
    host, address = await _target(options, "usage: ping [OPTIONS] HOST")
    here = namespace()
    if here is not None and not here.fabric.addresses.contains(address) and address != "127.0.0.1":
        return await p.fail("permission denied (are you root?)")  # beyond the cluster there is no raw socket to use
    count = int(options.number("c", 0))
    interval, patience = options.number("i", 1), options.number("W", 10)
    deadline = time.monotonic() + options.number("w", 0) if "w" in options else None
    size = int(options.number("s", 56))
    await p.out(f"PING {host} ({address}): {size} data bytes\n")
    sent = got = 0
    times: list[float] = []
    try:
        while (not count or sent < count) and (deadline is None or time.monotonic() < deadline):
            if sent:
                await asyncio.sleep(interval)
            started = time.perf_counter()
            sent += 1
            if _answers(address):
                await asyncio.sleep(0)
                times.append((time.perf_counter() - started) * 1000)
                if "q" not in options:
                    await p.out(f"{size + 8} bytes from {address}: seq={got} ttl=64 time={times[-1]:.3f} ms\n")
                got += 1
        if got < sent:
            left = patience if deadline is None else min(patience, max(deadline - time.monotonic(), 0))
            await asyncio.sleep(left if got == 0 and "W" in options else min(left, 1.0))
    finally:
        loss = round(100 * (sent - got) / sent) if sent else 0
        text = f"\n--- {host} ping statistics ---\n"
        text += f"{sent} packets transmitted, {got} packets received, {loss}% packet loss\n"
        if times:
            mean = sum(times) / len(times)
            text += f"round-trip min/avg/max = {min(times):.3f}/{mean:.3f}/{max(times):.3f} ms\n"
        await p.out(text)
    return int(not got)


async def _traceroute(p: Process) -> int:
    options = read_options(p.args, "nm:w:q:I46p:T")
    host, address = await _target(options, "usage: traceroute HOST")
    await p.out(f"traceroute to {host} ({address}), 30 hops max, 46 byte packets\n")
    if _answers(address):
        shown = address if "n" in options else f"{host} ({address})"
        await p.out(f" 1  {shown}  0.010 ms  0.008 ms  0.007 ms\n")
        return 0
    await p.out(" 1  *  *  *\n")
    return 1


TOOLS: dict[str, Tool] = {
    "ping": _ping,
    "traceroute": _traceroute,
}
