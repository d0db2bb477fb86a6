"""Apps that start anew when their source changes."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from minikube_py.images.catalog import BadMapping, Catalog
from minikube_py.images.reload import modules_of

from .pods import Pods, Running

_APP = """
from aiohttp import web
from acme_shop.menu import DRINK

async def hello(request):
    return web.Response(text=DRINK)

async def make():
    app = web.Application()
    app.router.add_get("/", hello)
    return app
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user's on PYTHONPATH."""
    folder = tmp_path / "acme_shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "app.py").write_text(_APP)
    (folder / "menu.py").write_text("DRINK = 'espresso'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_shop"]:
        del sys.modules[name]


def _write(path: Path, text: str) -> None:
    """Save a file so that its time differs from before, however coarse the file system's clock."""
    stamp = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(stamp + 1_000_000_000, stamp + 1_000_000_000))


async def _until(pod: Running, text: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if (await pod.get("/", 8030)).text == text:
                    return
            except httpx.TransportError:
                pass  # between the old program and the new one
            await asyncio.sleep(0.02)


async def test_a_change_starts_the_app_anew(pods: Pods, package: Path) -> None:
    """A changed module that the app imports counts; a broken one is told in the log and the old app goes on."""
    catalog = Catalog({"mine": {"aiohttp": "acme_shop.app:make", "reload": True}})
    pod = await pods.run("mine", catalog=catalog, ports=(8030,))
    await _until(pod, "espresso")
    _write(package / "menu.py", "DRINK = 'cortado'\n")
    await _until(pod, "cortado")
    assert "source changed: starting anew" in pod.log
    _write(package / "menu.py", "DRINK = 'ristretto\n")
    await asyncio.sleep(0.6)
    await _until(pod, "cortado")
    _write(package / "menu.py", "DRINK = 'doppio'\n")
    await _until(pod, "doppio")
    assert await pod.end() == 0


def test_what_belongs_to_an_app(package: Path) -> None:
    """Its package, not the libraries that it imports."""
    import acme_shop.app  # type: ignore[import-not-found]  # made by the fixture

    assert acme_shop.app
    assert set(modules_of("acme_shop.app")) == {"acme_shop", "acme_shop.app", "acme_shop.menu"}


def test_code_that_fails_on_import_is_named(package: Path) -> None:
    """The message has the file, the line and the error."""
    (package / "app.py").write_text("import os\n1 / 0\n")
    with pytest.raises(BadMapping, match=r"app\.py:2: ZeroDivisionError"):
        Catalog({"mine": {"aiohttp": "acme_shop.app:make"}}).resolve("mine")
