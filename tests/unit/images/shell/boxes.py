"""A container that runs only commands: no pod network, so only for tools that need none."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.client.runtime import Streams
from minikube_py.images import shell
from minikube_py.images.container import Container, PodInfo

__all__ = ["Box", "Result"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class Box:
    """Runs commands in one container, whose files last."""

    image: str = "busybox:1.36"
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log: list[str] = []
        pod = PodInfo("default", "box", "uid", "10.244.1.5", "box", "worker", "172.18.0.3")
        self.container = Container(
            name="box", image=self.image, pod=pod, write=self.log.append, env=dict(self.env), files=self.files
        )

    async def exec(self, *argv: str, stdin: bytes = b"") -> Result:
        """Run a command as kubectl exec -i does."""
        out, err = bytearray(), bytearray()

        async def to_out(data: bytes) -> None:
            out.extend(data)

        async def to_err(data: bytes) -> None:
            err.extend(data)

        reader = asyncio.StreamReader()
        reader.feed_data(stdin)
        reader.feed_eof()
        async with asyncio.timeout(10):
            code = await shell.execute(self.container, argv, Streams(reader, to_out, to_err))
        return Result(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    async def sh(self, script: str, *args: str, stdin: bytes = b"", shell: str = "sh") -> Result:
        return await self.exec(shell, "-c", script, *args, stdin=stdin)

    async def main(self, *argv: str) -> int:
        """Run a command as the container's process 1; its output is in `log`."""
        return await shell.run(self.container, argv)


def lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)
