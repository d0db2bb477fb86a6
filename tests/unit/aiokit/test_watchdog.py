"""The loop's watchdog."""

import asyncio
import contextvars
import time

from minikube_py.aiokit.watchdog import Blocked, Watchdog

OWNER: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="")


async def test_names_who_blocks() -> None:
    """A task that blocks the loop is named by its context, once, with the place."""
    reports: list[Blocked] = []
    watchdog = Watchdog(lambda context: context.get(OWNER) or "", reports.append, limit=0.05, interval=0.01)
    try:
        context = contextvars.copy_context()
        context.run(OWNER.set, "default/slow/main")

        async def slow() -> None:
            time.sleep(0.2)  # noqa: ASYNC251  blocking is the point

        await asyncio.get_running_loop().create_task(slow(), context=context)
        await asyncio.sleep(0)
    finally:
        watchdog.close()
    assert [report.owner for report in reports] == ["default/slow/main"]
    assert any("slow" in frame for frame in reports[0].stack)
    assert "blocked for" in str(reports[0])


async def test_is_quiet_while_the_loop_runs() -> None:
    """Waiting is not blocking."""
    reports: list[Blocked] = []
    watchdog = Watchdog(lambda context: "", reports.append, limit=0.5, interval=0.01)
    await asyncio.sleep(0.05)
    watchdog.close()
    assert reports == []
