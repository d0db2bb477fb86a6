"""Tasks that somebody owns.

A task without an owner loses its failure and outlives what it works for. `TaskScope` is the owner: what it
spawned ends before `close` returns, and what failed is logged with the task's name.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["TaskScope"]

logger = logging.getLogger(__name__)


class TaskScope:
    """A set of named tasks that end together.

    Resource handling:
        `close()` cancels what still runs and waits for it; spawning afterwards is an error.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, coro: Coroutine[Any, Any, Any], *, name: str, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """Start `coro` as a task of this scope. Its failure is logged here; cancellation is not a failure."""
        if self._closed:
            coro.close()
            raise RuntimeError(f"task scope {self.name} is closed")
        task = asyncio.get_running_loop().create_task(coro, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("task failed scope=%s task=%s", self.name, task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        self._closed = True
        while tasks := [task for task in self._tasks if task is not asyncio.current_task()]:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
