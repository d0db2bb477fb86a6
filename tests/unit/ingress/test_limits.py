"""What the ingress does at the machine's limits, and what it keeps of callers who are gone."""

import asyncio
import gc
import os
import socket
import sys
from pathlib import Path

import pytest

from .support import World, named

GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
SPARE = 40
"""Files that the controller below may have open beside those of its start."""

PROGRAM = """
import asyncio, os, resource, sys
sys.path.insert(0, sys.argv[1])
from tests.unit.ingress.support import endpoints, ingress, ingress_class, path, service
from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import OpenGate
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.server import program

class Pod(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        self.transport.close()

async def main():
    loop = asyncio.get_running_loop()
    addresses, lock = lease_slice()
    fabric = Fabric(gate=OpenGate(), addresses=addresses)
    pod, controller = (str(addresses.pod_cidr(1)[number]) for number in (5, 6))
    clock = LoopClock()
    api = Operations(clock, addresses=addresses)
    for each in (ingress_class(), service("web"), endpoints("web", [pod]), ingress("i", {"shop.test": [path("web")]})):
        api.create(each)
    spaces = [fabric.namespace(ip, hostname="h", name="d/" + ip, resolver=None) for ip in (pod, controller)]
    await loop.create_task(loop.create_server(Pod, None, 8080), context=spaces[0].context)
    container = Container("c", "i", PodInfo("n", "c", "u", controller, "h", "n", "127.0.0.1"), lambda text: None)
    running = loop.create_task(program(api, clock)(container), context=spaces[1].context)
    await container.ready.wait()
    limit = len(os.listdir("/proc/self/fd")) + int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(controller, fabric.real_port(80), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    container.terminated.set()
    await running
    await fabric.close()
    lock.close()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.usefixtures("both_ways")
async def test_short_connections_leave_nothing(running: World) -> None:
    """After thousands of them there are no more objects and files than after the first hundreds."""
    running.serve("web", await running.pod(named("web")))

    async def some(count: int) -> tuple[int, int]:
        for _ in range(count):
            assert (await running.raw(GET)).endswith(b"web")
        for _ in range(20):
            await asyncio.sleep(0)
        gc.collect()
        kinds = ("Caller", "Connection", "_Handler", "Record", "Call", "Exchange")
        ours = sum(type(each).__name__ in kinds for each in gc.get_objects())
        return ours, len(os.listdir("/proc/self/fd"))

    before = await some(200)
    after = await some(1500)
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1]


async def test_out_of_files() -> None:
    """Callers it can't accept wait, and the log says why; for a pod it can't call, 502 does; then all is well again."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(Path(__file__).parents[3]), str(SPARE),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        host, port = (await process.stdout.readline()).decode().split()
        address = host, int(port)
        crowd = [socket.create_connection(address) for _ in range(SPARE + 10)]  # the kernel completes them all
        said = await asyncio.wait_for(process.stderr.readline(), 20)
        assert b"accept paused" in said
        assert b"ulimit -n" in said
        first = crowd[0]
        first.sendall(GET)
        first.settimeout(20)
        answer = b""
        while data := await asyncio.to_thread(first.recv, 65536):
            answer += data
        assert answer.startswith(b"HTTP/1.1 502")
        assert b"Too many open files" in answer
        for each in crowd:
            each.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        assert (await asyncio.wait_for(reader.read(-1), 20)).endswith(b"ok")
        writer.close()
    finally:
        process.stdin.close()
        said = await process.stderr.read()
        await process.wait()
    assert process.returncode == 0, said
    assert b"Traceback" not in said
