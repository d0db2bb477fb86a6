"""polinux/stress and vish/stress: the documentation's containers that take more than they may, and are OOMKilled.

What they would take is compared with limits.memory; nothing is taken, and no CPU is burnt.
Source: https://kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource/
"""

import re

from minikube_py.apimachinery.quantities import whole
from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags

__all__ = ["IMAGES", "main"]

IMAGES = ("polinux/stress", "*/polinux/stress", "vish/stress", "*/vish/stress")

_SIZE = re.compile(r"(\d+)([BKMG]?)", re.IGNORECASE)
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _bytes(text: str) -> int:
    """Read a size as stress writes it (250M)."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _UNITS[found[2].upper()] if found else 0


async def main(container: Container) -> int:
    flags = parse_flags([word for word in container.argv if word != "stress"])
    workers = {name: flags.number(name, name[0], default=0) for name in ("cpu", "io", "vm", "hdd")}
    hogs = ", ".join(f"{count} {name}" for name, count in workers.items())
    container.print(f"stress: info: [1] dispatching hogs: {hogs}")
    container.started()
    container.hold(workers["vm"] * _bytes(flags.get("vm-bytes", default="256M")) + whole(flags.get("mem-total") or 0))
    await container.terminated.wait()
    return 143
