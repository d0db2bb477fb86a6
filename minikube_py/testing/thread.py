"""The thread that a cluster's event loop runs in.

The caller's own loop, if it has one, stays what it is: nothing here asks it to be special.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from minikube_py.cni.podloop import new_event_loop

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """A background thread with an event loop of the cluster's kind.

    Resource handling: `close()` ends the loop and joins the thread; what still runs on the loop is cancelled.
    """

    def __init__(self, name: str) -> None:
        self.loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"minikube-py-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            asyncio.set_event_loop(None)

    def submit(self, coro: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a coroutine on the cluster's loop; the result comes as a concurrent future."""
        if threading.current_thread() is self._thread:
            coro.close()
            raise RuntimeError(
                "a cluster's own code called the blocking handle of its cluster: that would wait for itself"
            )
        return asyncio.run_coroutine_threadsafe(coro, self.loop)

    def call(self, function: Callable[[], T]) -> T:
        """Run a plain function on the cluster's loop and wait for its result."""

        async def run() -> T:
            return function()

        return self.submit(run()).result()

    def close(self) -> None:
        if not self._thread.is_alive():
            return

        async def finish() -> None:
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
            await self.loop.shutdown_default_executor()

        asyncio.run_coroutine_threadsafe(finish(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
