"""A watchdog for the event loop: who blocks it, while it is blocked.

One loop runs everything, so a handler that computes for a second stops DNS, proxies and probes for a second. A daemon
thread notices that the loop's heartbeat is late, and looks at the running task: its context says whose code it is, its
stack says where.

    loop ── beat every `interval` ──► last_beat ◄── thread: late by more than `limit`? ──► report(Blocked)
"""

import asyncio
import contextvars
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable

from msgspec import Struct

__all__ = ["Blocked", "Watchdog"]


class Blocked(Struct, frozen=True):
    """The loop stood still for at least `seconds`."""

    seconds: float
    owner: str
    """What `identify` made of the blocking task's context; empty for code that is not in a task."""
    task: str
    stack: tuple[str, ...]
    """`file:line function`, innermost first."""

    def __str__(self) -> str:
        where = self.stack[0] if self.stack else "unknown code"
        who = self.owner or self.task or "a callback"
        return f"the event loop has been blocked for {self.seconds:.2f} s by {who} in {where}"


class Watchdog:
    """Watches the running loop from a thread.

    Resource handling: `close()` ends the heartbeat and joins the thread.
    """

    def __init__(
        self,
        identify: Callable[[contextvars.Context], str],
        report: Callable[[Blocked], object],
        *,
        observe: Callable[[str], object] | None = None,
        limit: float = 0.25,
        interval: float = 0.1,
    ) -> None:
        """`report` is called on the watchdog's thread, once for each blockage; `limit` and `interval` in seconds.

        `observe` is called there at each interval with whose code runs at that moment, "" if nobody's.
        """
        self._identify = identify
        self._report = report
        self._observe = observe
        self._limit = limit
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._last = time.monotonic()
        self._running = threading.Lock()  # an Event's wait costs thrice as much, ten times a second
        self._running.acquire()
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="loop watchdog", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        self._last = time.monotonic()
        self._timer = self._loop.call_later(self._interval, self._beat)

    def close(self) -> None:
        self._timer.cancel()
        self._running.release()
        self._thread.join()

    def _watch(self) -> None:
        reported = 0.0
        while not self._running.acquire(timeout=self._interval):
            if self._observe is not None:
                self._observe(self._owner(asyncio.current_task(self._loop)))
            last = self._last
            late = time.monotonic() - last - self._interval
            if late > self._limit and last != reported:
                reported = last
                self._report(self._look(late))

    def _owner(self, task: "asyncio.Task[object] | None") -> str:
        if task is None:
            return ""
        # Task.get_context() is 3.12's; the collector sees the context through the task in 3.11 as well.
        contexts = [c for c in gc.get_referents(task) if isinstance(c, contextvars.Context)]
        return next(filter(None, map(self._identify, contexts)), "")

    def _look(self, late: float) -> Blocked:
        task = asyncio.current_task(self._loop)
        owner = self._owner(task)
        frame = sys._current_frames().get(self._loop_thread)
        frames = traceback.extract_stack(frame) if frame else []
        stack = tuple(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
        return Blocked(late, owner, task.get_name() if task else "", stack[:10])
