"""Which program runs for an image."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from minikube_py.images import agnhost, generic, http_echo, nginx, toolbox
from minikube_py.images.catalog import AbsentImage, BadMapping, Catalog
from minikube_py.images.container import Container

from .pods import Pods


@pytest.mark.parametrize(
    ("image", "command", "expected"),
    [
        pytest.param("nginx:1.25", (), nginx.main, id="stand-in, any tag"),
        pytest.param("k8s.gcr.io/e2e-test-images/agnhost:2.39", (), agnhost.main, id="stand-in, any registry"),
        pytest.param("agnhost:x", ("/agnhost", "pause"), agnhost.main, id="command of the image itself"),
        pytest.param("hashicorp/http-echo", (), http_echo.main, id="repository with a user"),
        pytest.param("ghcr.io/acme/api", (), generic.main, id="unknown image"),
        pytest.param("ghcr.io/acme/api", ("/server",), generic.main, id="unknown image with its own program"),
        pytest.param("ghcr.io/acme/api", ("/bin/sh", "-c"), toolbox.main, id="unknown image with a shell"),
        pytest.param("busybox", (), toolbox.main, id="tool box"),
    ],
)
def test_resolve_builtin(image: str, command: tuple[str, ...], expected: Any) -> None:
    """Shells go to the tool box, known images to their stand-ins, all else to the generic app."""
    assert Catalog().resolve(image, command=command) is expected


async def _program(container: Container) -> int:
    return 0


def test_user_mapping_wins_over_everything() -> None:
    """What the user maps holds even for a known image; the first pattern that fits counts."""
    catalog = Catalog({"nginx": _program, "nginx:1.*": {"absent": True}}, {"nginx": http_echo.main})
    assert catalog.resolve("nginx:1.2") is _program


def test_an_application_object_is_no_entry() -> None:
    """An aiohttp Application may be mapped as it is, though it is a Mapping itself."""
    catalog = Catalog({"acme/web": web.Application()})
    assert catalog.resolve("acme/web").__module__ == "minikube_py.images.aiohttp_app"
    assert not catalog.absent("acme/web")


def test_like_follows_to_another_image() -> None:
    """`like` runs what another image runs."""
    assert Catalog({"acme/*": {"like": "nginx"}}).resolve("acme/web:2") is nginx.main


def test_like_that_leads_back_is_refused() -> None:
    """A circle of likes is an error, not a hang."""
    catalog = Catalog({"a": {"like": "b"}, "b": {"like": "a"}})
    with pytest.raises(BadMapping, match="leads back"):
        catalog.resolve("a")


def test_absent_raises() -> None:
    """An image marked as absent can't be pulled."""
    catalog = Catalog({"ghcr.io/acme/gone": {"absent": True}})
    assert catalog.absent("ghcr.io/acme/gone:1")
    with pytest.raises(AbsentImage):
        catalog.resolve("ghcr.io/acme/gone:1")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param({"aiohtp": "a:b"}, "exactly one of", id="misspelled key"),
        pytest.param({"asgi": "a:b", "tcp": "a:b"}, "asgi, tcp", id="two programs"),
        pytest.param("pkg:app", "give a mapping", id="bare string"),
    ],
)
def test_bad_mapping(value: Any, says: str) -> None:
    """An impossible entry is refused when the catalog is made."""
    with pytest.raises(BadMapping, match=says):
        Catalog({"acme": value})


@pytest.mark.parametrize(
    ("target", "says"),
    [
        pytest.param("no_such_package_here:app", "can't import", id="no module"),
        pytest.param("json:nothing", "has no 'nothing'", id="no attribute"),
        pytest.param("json", "no import string", id="no colon"),
    ],
)
def test_bad_import_string(target: str, says: str) -> None:
    """An import string that leads nowhere says how."""
    with pytest.raises(BadMapping, match=says):
        Catalog({"acme": {"asgi": target}}).resolve("acme")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            "import nosuchmodule\n",
            "main.py:1: ModuleNotFoundError: No module named 'nosuchmodule'; install",
            id="lacks",
        ),
        pytest.param("x = 1\ny = x / 0\n", "main.py:2: ZeroDivisionError", id="raises"),
        pytest.param("def f(:\n", "main.py:1: SyntaxError", id="syntax"),
        pytest.param("ap = 1\n", "has no 'app'; did you mean 'ap'?", id="name"),
        pytest.param("raise SystemExit(3)\n", "main.py:1: SystemExit: 3", id="exits"),
    ],
)
def test_a_bad_import_is_told_with_its_place(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, line and the next step: what is wrong is the user's own code."""
    package = f"bad_{len(source)}_{abs(hash(message))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "main.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog({"bad": {"asgi": f"{package}.main:app"}})
    with pytest.raises(BadMapping, match=re.escape(message)) as caught:
        catalog.resolve("bad")
    assert not caught.value.heals


def test_a_module_that_is_not_there_is_looked_for_in_the_callers_folder() -> None:
    """The most common mistake has a cure of its own."""
    with pytest.raises(BadMapping, match=r"no module 'nowhere_at_all'.*PYTHONPATH"):
        Catalog({"bad": {"asgi": "nowhere_at_all.main:app"}}).resolve("bad")


async def _until(holds: Callable[[], bool]) -> None:
    """Give the loop turns until something holds: a script takes a few."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_script_may_call_its_images_server(pods: Pods) -> None:
    """`exec nginx` at a script's end is the stand-in, with what the script wrote."""
    script = (
        "echo 'server { listen 8080; location /v { return 200 \"$MSG\"; } }' | envsubst > /etc/nginx/conf.d/v.conf;"
        "exec /docker-entrypoint.sh nginx -g 'daemon off;'"
    )
    pod = await pods.run("nginx:1.27", command=("sh", "-c", script), env={"MSG": "from the script"})
    await _until(lambda: "image_files" in pod.container.extra)
    assert (await pod.get("/v", 8080)).text == "from the script"
    assert (await pod.exec("nginx", "-t")).code == 0
    assert "runs already" in (await pod.exec("nginx")).err


async def test_a_script_that_lacks_its_server_is_stood_for(pods: Pods) -> None:
    """An unknown image with a port, whose script calls what we don't have, is the generic app in the end."""
    pod = await pods.run("acme/zookeeper", command=("sh", "-c", "exec start-it --port 8020"), ports=(8020,))
    await _until(lambda: "generic app stands" in pod.log)
    assert (await pod.get("/", 8020)).json()["pod"] == "pod-0"


async def test_the_generic_app_is_ok_as_zookeeper_is(pods: Pods) -> None:
    """`echo ruok | nc` is the probe of a thousand ZooKeeper manifests; other lines are echoed."""
    pod = await pods.run("zookeeper:3.8", ports=(2181,))
    assert await pod.talk(b"ruok\n", 2181) == b"imok"
    assert await pod.talk(b"hello\n", 2181) == b"hello\n"


SCRIPTS = {
    "one program": "train --epochs 3",
    "several programs": "set -e; python manage.py migrate && python manage.py collectstatic",
    "waits for a check": "until cqlsh cassandra.data; do sleep 1; done",
    "waits while a check fails": "while ! python check.py; do sleep 1; done; ./migrate up",
    "runs a file of the image's": "/scripts/init-primary.sh",
    "needs what a program would have made": "git clone https://example.com/a.git /tmp/a && cd /tmp/a",
    "works in the image's folders": "set -e; cd /opt/app; ./bin/configure.sh",
    "needs the image's files": "set -e; cd /srv/app && cp -r ./dist /etc/shared",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_a_script_that_is_to_end_does_so(pods: Pods, script: str) -> None:
    """In an init container or a Job, programs and files of an unknown image count as there: the log says so."""
    pod = await pods.run("acme/train", command=("sh", "-c", script), ends=True)
    assert await asyncio.wait_for(pod.task, 5) == 0
    assert "taken to have succeeded" in pod.log


@pytest.mark.parametrize(
    ("image", "script"), [("acme/app", "exit 3"), ("acme/app", "test -f /tmp/go"), ("busybox", "./migrate")]
)
async def test_a_script_fails_for_reasons_of_its_own(pods: Pods, image: str, script: str) -> None:
    """What the script itself decides holds, and in a tool box nothing is stood for."""
    pod = await pods.run(image, command=("sh", "-c", script), ends=True)
    assert await asyncio.wait_for(pod.task, 5) != 0


@pytest.mark.parametrize("command", [("./migrate", "up"), ("alembic", "upgrade", "head"), ()])
async def test_an_unknown_image_that_is_to_end_does_so(pods: Pods, command: tuple[str, ...]) -> None:
    """An init container of an image that we don't have doesn't hold up its pod."""
    pod = await pods.run("acme/app", command=command, ends=True)
    assert await asyncio.wait_for(pod.task, 5) == 0


@pytest.mark.parametrize(
    "script",
    ["while ! python check_db.py; do sleep 1; done; exec gunicorn app", "python app.py & while :; do sleep 5; done"],
)
async def test_a_servers_script_is_stood_for_from_its_first_program_on(pods: Pods, script: str) -> None:
    """Its ports are open, whether the script ends, waits or goes on."""
    pod = await pods.run("acme/app", command=("bash", "-ec", script), ports=(8030,))
    await _until(lambda: "generic app stands" in pod.log)
    assert (await pod.get("/", 8030)).json()["pod"] == "pod-0"
