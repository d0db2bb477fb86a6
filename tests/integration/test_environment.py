"""What a pod's programs find around them: variables, names, files."""

import os
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from minikube_py import Cluster

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, labels: {app: %(name)s}}
spec:
  containers:
  - name: app
    image: acme/env
    ports: [{containerPort: 8000}]
    env:
    - {name: GREETING, value: %(greeting)s}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
"""


def make() -> web.Application:
    """An app that reads its settings as apps do: when it is made, and when it is asked."""
    greeting = os.environ["GREETING"]

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{greeting} {os.getenv('POD_NAME')} {os.environ.get('GREETING')}")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


def test_an_app_reads_its_pods_variables() -> None:
    """os.environ in a user's app is the environment that the manifest gives its pod."""
    pods = "---".join(MANIFEST % {"name": name, "greeting": word} for name, word in (("one", "hi"), ("two", "ho")))
    with Cluster(pods, images={"acme/env": make}) as cluster, cluster.client(from_pod="one") as http:
        for name, word in (("one", "hi"), ("two", "ho")):
            ip = cluster.get(f"pod/{name}")["status"]["podIP"]
            assert http.get(f"http://{ip}:8000/").text == f"{word} {name} {word}"
    assert "GREETING" not in os.environ


WORLD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: debug, app.conf: "tea=green"}
---
apiVersion: v1
kind: Service
metadata: {name: desk}
spec: {clusterIP: None, selector: {app: world}}
---
apiVersion: v1
kind: Pod
metadata: {name: world, labels: {app: world, tier: x}}
spec:
  hostname: clerk
  subdomain: desk
  setHostnameAsFQDN: true
  terminationGracePeriodSeconds: 0
  hostAliases: [{ip: %(alias)s, hostnames: [post.local]}]
  dnsConfig: {searches: [my.search], options: [{name: ndots, value: "2"}]}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "trap exit TERM; echo $0 $*; while true; do sleep 0.1; done"]
    args: ["$(LEVEL)", "$$(LEVEL)", "$(NOPE)", "$(LATE)"]
    envFrom: [{configMapRef: {name: settings}, prefix: CONF_}, {secretRef: {name: absent, optional: true}}]
    env:
    - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}
    - {name: LATE, value: "$(LEVEL) $(LATER)"}
    - {name: LATER, value: later}
    volumeMounts:
    - {name: conf, mountPath: /conf}
    - {name: conf, mountPath: /etc/one.conf, subPath: app.conf}
    - {name: some, mountPath: /some}
    - {name: disk, mountPath: /mine, subPathExpr: $(CONF_level)/$(LEVEL)}
    - {name: disk, mountPath: /disk, readOnly: true}
  volumes:
  - {name: conf, configMap: {name: settings}}
  - {name: disk, emptyDir: {}}
  - name: some
    projected:
      defaultMode: 0440
      sources:
      - {configMap: {name: settings, items: [{key: level, path: deep/level, mode: 0755}]}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
      - {serviceAccountToken: {path: token, audience: vault}}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[Cluster]:
    """A pod with much around it, and a pod that its hostAliases point to."""
    post = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "post"},
        "spec": {"containers": [{"name": "c", "image": "traefik/whoami"}]},
    }
    with Cluster(post) as cluster:
        cluster.wait("pod/post", condition="Ready")
        cluster.apply(WORLD % {"alias": cluster.get("pod/post")["status"]["podIP"]})
        cluster.wait("pod/world", condition="Ready")
        yield cluster


def _sh(cluster: Cluster, script: str) -> str:
    return str(cluster.exec("pod/world", ["sh", "-c", script]).stdout)


def test_references_see_what_came_before(world: Cluster) -> None:
    """$(NAME) is replaced if it is known by then, $$ escapes it, and the shell sees what is left."""
    assert world.logs("pod/world") == "debug $(LEVEL) $(NOPE) debug $(LATER)\n"
    assert _sh(world, "env | grep ^CONF_ | sort") == "CONF_app.conf=tea=green\nCONF_level=debug\n"


def test_names_of_a_pod(world: Cluster) -> None:
    """The hostname is the full one if so wished; hosts, search path and options are the manifest's."""
    fqdn = "clerk.desk.default.svc.cluster.local"
    assert _sh(world, "hostname; cat /etc/hostname; echo $HOSTNAME") == f"{fqdn}\n" * 3
    pod, post = (world.get(f"pod/{name}")["status"]["podIP"] for name in ("world", "post"))
    assert _sh(world, "tail -n 4 /etc/hosts") == (
        f"{pod}\t{fqdn}\tclerk\n\n# Entries added by HostAliases.\n{post}\tpost.local\n"
    )
    assert _sh(world, "cat /etc/resolv.conf").splitlines()[::2] == [
        "search default.svc.cluster.local svc.cluster.local cluster.local my.search",
        "options ndots:2",
    ]


def test_a_client_that_is_a_pod_reads_its_hosts_file(world: Cluster) -> None:
    """hostAliases work from tests as they do in the pod; a pod without declared ports has the URL it listens on."""
    with world.client(from_pod="world") as http:
        assert "Hostname: post" in http.get("http://post.local/").text
        assert "Hostname: post" in http.get(world.url("pod/post")).text
    with pytest.raises(LookupError, match=r"pods/world has no port: it declares none and listens on none"):
        world.url("pod/world")


def test_a_config_map_reaches_files_not_variables(world: Cluster) -> None:
    """Links through ..data swap at once, gone keys go; a subPath and the environment stay as they were at the start."""
    assert _sh(world, "readlink /conf/level; cat /conf/level /etc/one.conf; echo; ls /conf") == (
        "..data/level\ndebugtea=green\napp.conf\nlevel\n"
    )
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"app.conf": "tea=black", "new": "1", "level": "info"},
        }
    )
    deadline = time.monotonic() + 5
    while _sh(world, "ls /conf") != "app.conf\nlevel\nnew\n":
        assert time.monotonic() < deadline
    assert _sh(world, "cat /conf/level /conf/app.conf /etc/one.conf; echo $LEVEL") == "infotea=blacktea=greendebug\n"


def test_modes_and_places_of_files(world: Cluster) -> None:
    """An item's mode wins over the volume's; readOnly and the API's volumes refuse to be written."""
    modes = _sh(world, "cd /some/..data; stat -c '%a %n' deep/level labels token")
    assert modes == "755 deep/level\n440 labels\n440 token\n"
    assert _sh(world, "touch /mine/x && ls /disk/debug/debug") == "x\n"
    for path in ("/disk/x", "/conf/x", "/some/x"):
        assert world.exec("pod/world", ["sh", "-c", f"echo > {path}"]).exit_code != 0
