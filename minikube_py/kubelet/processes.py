"""What the programs of this machine use that run as containers (`command:`): measured, with all their descendants;
and their end when nobody is left to wait for it.

Stands for cAdvisor's reading of a cgroup. Source: proc(5). Nothing is known where there is no /proc.
"""

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["ProcessMeter", "Processes", "end_programs", "process_tree", "read_processes"]

Key = tuple[str, str, str]
Processes = Mapping[int, tuple[int, float, int]]
"""Process id → (its parent's, CPU seconds so far, resident bytes)."""

_WINDOW = 1.0
"""Seconds; who asks again earlier gets the same average, so that two readers don't spoil each other's."""


def read_processes() -> Processes:
    """Return all processes of the machine."""
    tick, page = os.sysconf("SC_CLK_TCK"), resource.getpagesize()
    found = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        # After the name come state, ppid, …; utime to cstime are fields 14 to 17 of the whole line, rss is 24.
        found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / tick, int(fields[21]) * page)
    return found


def process_tree(root: int, processes: Processes) -> tuple[float, int]:
    """Return CPU seconds and resident bytes of a process and its descendants."""
    children: dict[int, list[int]] = {}
    for process, (parent, _, _) in processes.items():
        children.setdefault(parent, []).append(process)
    seconds, size, todo = 0.0, 0, [root]
    while todo:
        process = todo.pop()
        _, used, resident = processes.get(process, (0, 0.0, 0))
        seconds, size = seconds + used, size + resident
        todo += children.get(process, ())
    return seconds, size


def end_programs() -> None:
    """Kill what runs in a session of its own and was started by this process: containers' programs, with their groups.

    For an end without goodbye: it needs no event loop.
    """
    for process, (parent, _, _) in read_processes().items():
        if parent == os.getpid():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(process) == process:
                    os.killpg(process, signal.SIGKILL)


class ProcessMeter:
    """Turns CPU seconds so far into cores: the average since the last measurement."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, processes: Callable[[], Processes] = read_processes
    ) -> None:
        self._clock = clock
        self._processes = processes
        self._at: dict[int, tuple[float, float]] = {}
        """Process id → when its CPU seconds were read last, and how many they were."""
        self._answer: dict[int, tuple[float, int]] = {}

    def measure(self, running: Mapping[Key, int]) -> dict[Key, tuple[float, int]]:
        """Return (cores, bytes) of each container, given with the id of its program."""
        now = self._clock()
        due = [p for p in running.values() if p not in self._answer or now - self._at[p][0] >= _WINDOW]
        if due:
            processes = self._processes()
            for process in due:
                seconds, size = process_tree(process, processes)
                then, before = self._at.get(process, (now, seconds))
                cores = max(seconds - before, 0.0) / (now - then) if now > then else 0.0
                self._answer[process] = (cores, size)
                self._at[process] = (now, seconds)
        known = set(running.values())
        self._at = {process: value for process, value in self._at.items() if process in known}
        self._answer = {process: value for process, value in self._answer.items() if process in known}
        return {key: self._answer[process] for key, process in running.items()}
