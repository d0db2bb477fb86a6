"""Who blocks the loop is named, unless it only imports."""

import asyncio
import contextvars
import logging
import sys
import threading
from pathlib import Path

import pytest

from minikube_py.kubelet.containers import CURRENT
from minikube_py.kubelet.lag import watch_loop

_BLOCK = "import threading\nthreading.Event().wait(0.4)\n"


def _as_pod() -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(CURRENT.set, "default/web/app")
    return context


@pytest.mark.slow
@pytest.mark.parametrize("imports", [False, True], ids=["code", "an import"])
async def test_an_import_is_nobody_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, imports: bool
) -> None:
    """A pod whose code blocks the loop is named in the log; one that imports a slow module is not."""
    (tmp_path / "slow_module_of_a_test.py").write_text(_BLOCK)
    monkeypatch.syspath_prepend(tmp_path)
    caplog.set_level(logging.DEBUG, "minikube_py.kubelet.lag")
    watchdog = watch_loop(lambda: (), limit=0.1)

    async def block() -> None:
        if imports:
            import slow_module_of_a_test  # noqa: F401  # written above
        else:
            threading.Event().wait(0.4)

    try:
        await asyncio.create_task(block(), context=_as_pod())
    finally:
        watchdog.close()
        sys.modules.pop("slow_module_of_a_test", None)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG if imports else logging.WARNING}
