"""The real kubectl with default flags against the API server alone: each command, its words and its exit codes."""

import asyncio
import json
from typing import Any

import pytest

from .manifests import CRONTABS

pytestmark = pytest.mark.slow

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1.27", ports: [{containerPort: 80}]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 80}]
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
"""
CRONTAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: nightly}
spec: {schedule: "0 0 * * *"}
"""


async def test_version_and_cluster_info(kubectl: Any) -> None:
    """The server says 1.32, which also decides which kubectl a dispatcher runs."""
    assert "Server Version: v1.32" in await kubectl("version")
    assert "is running at" in await kubectl("cluster-info")


async def test_apply_creates_changes_and_says_unchanged(kubectl: Any) -> None:
    """The second apply of the same file does nothing, a changed one patches."""
    text = DEPLOYMENT + "---" + SERVICE
    assert await kubectl("apply", "-f", "-", stdin=text) == "deployment.apps/web created\nservice/web created\n"
    assert await kubectl("apply", "-f", "-", stdin=text) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    changed = text.replace("nginx:1.27", "nginx:1.28")
    assert "web configured" in await kubectl("apply", "-f", "-", stdin=changed)
    image = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "nginx:1.28"


async def test_diff_shows_what_apply_would_change(kubectl: Any) -> None:
    """Exit code 1 and a diff, and nothing is stored."""
    await kubectl("apply", "-f", "-", stdin=CONFIG)
    result = await kubectl.run("diff", "-f", "-", stdin=CONFIG.replace("blue", "red"))
    assert (result.code, "-  color: blue" in result.out, "+  color: red" in result.out) == (1, True, True)
    assert (await kubectl.run("diff", "-f", "-", stdin=CONFIG)).code == 0


async def test_get_in_every_format(kubectl: Any) -> None:
    """Tables, wide ones, names, JSON, YAML, jsonpath, columns, selectors, all namespaces."""
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert (await kubectl("get", "deploy")).split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert "SELECTOR" in await kubectl("get", "deploy", "-o", "wide")
    assert await kubectl("get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert json.loads(await kubectl("get", "deploy", "web", "-o", "json"))["spec"]["replicas"] == 2
    assert "replicas: 2" in await kubectl("get", "deploy", "web", "-o", "yaml")
    assert await kubectl("get", "deploy", "-o", "jsonpath={.items[*].metadata.name}") == "web"
    assert (await kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name")).split() == ["N", "web"]
    assert "web" in await kubectl("get", "deploy", "-l", "app=web,tier!=x", "--show-labels")
    assert "No resources found" in (await kubectl.run("get", "deploy", "-l", "app in (x,y)")).err
    assert "kube-system" in await kubectl("get", "ns", "--field-selector", "metadata.name=kube-system")
    assert (await kubectl("get", "all", "-A")).split()[:2] == ["NAMESPACE", "NAME"]
    assert "web" in await kubectl("get", "deploy", "--sort-by=.metadata.name", "--chunk-size=1")


async def test_generators(kubectl: Any) -> None:
    """`kubectl create …` sends protobuf since 1.32; every kind of it arrives."""
    commands = """
    create namespace shop
    create deployment web --image=nginx --port=80 --replicas=2
    create service clusterip web --tcp=80:8080
    create service nodeport np --tcp=80:8080
    create service externalname ext --external-name=example.com
    create ingress web --rule=shop.example.com/menu*=web:80,tls=cert --class=nginx
    create configmap settings --from-literal=color=blue
    create secret generic password --from-literal=p=w
    create serviceaccount bob
    create job once --image=busybox -- echo hi
    create cronjob tick --image=busybox --schedule=*/5_*_*_*_* -- date
    create role reader --verb=get,list --resource=pods
    create rolebinding readers --role=reader --serviceaccount=default:bob
    create clusterrole seer --verb=get --resource=nodes
    create clusterrolebinding seers --clusterrole=seer --user=ann
    create quota limits --hard=cpu=1,pods=3
    create poddisruptionbudget web --min-available=1 --selector=app=web
    create priorityclass gold --value=1000 --description=first
    autoscale deployment web --max=5 --cpu-percent=50
    expose deployment web --name=web2 --port=80
    run one --image=nginx --port=80 --labels=app=one
    """
    for line in filter(None, map(str.strip, commands.splitlines())):
        await kubectl(*(word.replace("_", " ") for word in line.split()))
    assert len((await kubectl("create", "token", "bob")).strip().split(".")) == 3
    api = kubectl.server.operations
    ingress = api.get("ingresses.networking.k8s.io", "web", "default")
    assert ingress["spec"]["rules"][0]["http"]["paths"][0] == {
        "path": "/menu",
        "pathType": "Prefix",
        "backend": {"service": {"name": "web", "port": {"number": 80}}},
    }
    assert api.get("services", "np", "default")["spec"]["ports"][0]["nodePort"] >= 30000
    assert api.get("cronjobs.batch", "tick", "default")["spec"]["schedule"] == "*/5 * * * *"
    scaler = api.get("horizontalpodautoscalers.autoscaling", "web", "default")
    assert scaler["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 50}
    assert api.get("configmaps", "settings", "default")["data"] == {"color": "blue"}


async def test_replace_edit_and_patch(kubectl: Any) -> None:
    """PUT, and the three kinds of patch, with kubectl's words for a failed test."""
    await kubectl("create", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("replace", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 3"))
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx:2"}]}}}}'
    await kubectl("patch", "deploy", "web", "-p", strategic)
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    await kubectl("patch", "deploy", "web", "--type=json", "-p", '[{"op":"add","path":"/spec/paused","value":true}]')
    assert await kubectl("patch", "deploy", "web", "-p", strategic) == "deployment.apps/web patched (no change)\n"
    spec = kubectl.server.operations.get("deployments.apps", "web", "default")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], spec["paused"], container["image"], container["ports"][0]["containerPort"]) == (
        4,
        True,
        "nginx:2",
        80,
    )
    failed = await kubectl.fails(
        "patch", "deploy", "web", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]'
    )
    assert failed.startswith("The request is invalid")


async def test_label_annotate_set_scale_and_rollout_commands(kubectl: Any) -> None:
    """The small commands that read and patch."""
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert await kubectl("label", "deploy", "web", "tier=front") == "deployment.apps/web labeled\n"
    assert "already has a value" in await kubectl.fails("label", "deploy", "web", "tier=back")
    await kubectl("annotate", "deploy", "web", "note=hello")
    await kubectl("set", "image", "deploy/web", "web=nginx:9")
    await kubectl("set", "env", "deploy/web", "COLOR=red")
    assert await kubectl("scale", "deploy", "web", "--replicas=5") == "deployment.apps/web scaled\n"
    await kubectl("scale", "deploy", "web", "--current-replicas=5", "--replicas=6")
    await kubectl("rollout", "restart", "deploy", "web")
    await kubectl("rollout", "pause", "deploy", "web")
    await kubectl("rollout", "resume", "deploy", "web")
    stored = kubectl.server.operations.get("deployments.apps", "web", "default")
    assert stored["spec"]["replicas"] == 6
    assert stored["metadata"]["labels"] == {"app": "web", "tier": "front"}
    assert "kubectl.kubernetes.io/restartedAt" in stored["spec"]["template"]["metadata"]["annotations"]


async def test_server_side_apply_and_its_conflicts(kubectl: Any) -> None:
    """Ownership, conflict in kubectl's words, force; and the way over from client-side apply."""
    await kubectl("apply", "-f", "-", stdin=CONFIG)
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=CONFIG)
    red = CONFIG.replace("blue", "red")
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=red)
    green = CONFIG.replace("blue", "green")
    error = await kubectl.fails("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=green)
    assert error.startswith('error: Apply failed with 1 conflict: conflict with "kubectl": .data.color')
    await kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=green)
    owners = json.loads(await kubectl("get", "cm", "settings", "--show-managed-fields", "-o", "json"))["metadata"]
    assert [e["manager"] for e in owners["managedFields"] if "f:data" in e["fieldsV1"]] == ["other"]


async def test_delete_waits_and_says_so(kubectl: Any) -> None:
    """By name, by file, by label; with dry run nothing goes."""
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT + "---" + CONFIG)
    assert "(server dry run)" in await kubectl("delete", "deploy", "web", "--dry-run=server")
    assert await kubectl("delete", "deploy", "-l", "app=web") == 'deployment.apps "web" deleted\n'
    assert await kubectl("delete", "-f", "-", stdin=CONFIG) == 'configmap "settings" deleted\n'
    assert await kubectl.fails("delete", "deploy", "web") == (
        'Error from server (NotFound): deployments.apps "web" not found'
    )
    assert await kubectl("delete", "deploy", "web", "--ignore-not-found") == ""
    assert "No resources found" in (await kubectl.run("delete", "cm", "--all")).out


async def test_wait_and_watch_see_changes(kubectl: Any) -> None:
    """`wait` returns when the condition holds, `get -w` prints each change."""
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    waiting = asyncio.create_task(kubectl("wait", "deploy/web", "--for=condition=Available", "--timeout=20s"))
    watching = await kubectl.start("get", "deploy", "web", "-w", "--no-headers")
    assert b"0/2" in await watching.stdout.readline()
    while len(kubectl.server._hub) < 2:  # kubectl drops the first event of a watch: it must not be the change
        await asyncio.sleep(0.01)
    status = {"readyReplicas": 2, "conditions": [{"type": "Available", "status": "True"}]}
    kubectl.server.operations.modify(
        "deployments.apps", "web", "default", lambda o: o.update(status=status), subresource="status"
    )
    assert b"2/2" in await watching.stdout.readline()
    assert await waiting == "deployment.apps/web condition met\n"
    gone = asyncio.create_task(kubectl("wait", "deploy/web", "--for=delete", "--timeout=20s"))
    await kubectl("delete", "deploy", "web")
    await gone
    watching.terminate()
    await watching.communicate()


async def test_what_the_server_can(kubectl: Any) -> None:
    """api-resources, api-versions, explain, auth."""
    resources = await kubectl("api-resources", "-o", "wide")
    assert "deployments" in resources
    assert "networking.k8s.io/v1" in (await kubectl("api-versions")).split()
    assert "FIELD: image <string>" in await kubectl("explain", "pod.spec.containers.image")
    assert "targetPort" in await kubectl("explain", "svc.spec.ports", "--recursive")
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "*.*" in await kubectl("auth", "can-i", "--list")
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    assert "ann" in await kubectl("auth", "whoami", "--as=ann")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (
            SERVICE.replace("targetPort", "taragetPort"),
            'strict decoding error: unknown field "spec.ports[0].taragetPort"',
        ),
        (DEPLOYMENT.replace("replicas: 2", "replicas: two"), "json: cannot unmarshal string into Go struct field"),
        (DEPLOYMENT.replace("{app: web}}\n  template", "{app: other}}\n  template"), "`selector` does not match"),
        (
            SERVICE.replace("port: 80,", "port: 80, nodePort: 80,").replace("selector", "type: NodePort\n  selector"),
            "The range of valid ports is 30000-32767",
        ),
        (SERVICE.replace("name: web", "name: Web_1"), "Invalid value"),
        (CONFIG.replace("ConfigMap", "ConfigMop"), "ensure CRDs are installed first"),
        (CONFIG.replace("{name: settings}", "{name: settings, namespace: nowhere}"), 'namespaces "nowhere" not found'),
    ],
    ids=["unknown field", "wrong type", "selector", "node port", "name", "kind", "namespace"],
)
async def test_mistakes_are_told_in_kubernetes_words(kubectl: Any, manifest: str, words: str) -> None:
    """kubectl prints what a real cluster would say."""
    assert words in await kubectl.fails("apply", "-f", "-", stdin=manifest)


async def test_unknown_things_are_told_in_kubectl_words(kubectl: Any) -> None:
    """Missing objects and kinds, stale writes, a wrong token."""
    assert await kubectl.fails("get", "pod", "x") == 'Error from server (NotFound): pods "x" not found'
    assert await kubectl.fails("get", "pood") == 'error: the server doesn\'t have a resource type "pood"'
    await kubectl("create", "-f", "-", stdin=CONFIG)
    assert "(AlreadyExists)" in await kubectl.fails("create", "-f", "-", stdin=CONFIG)
    stale = CONFIG.replace("{name: settings}", '{name: settings, resourceVersion: "1"}')
    assert "(Conflict)" in await kubectl.fails("replace", "-f", "-", stdin=stale)
    wrong = await kubectl.fails("get", "pods", "--token=wrong")
    assert wrong == "error: You must be logged in to the server (Unauthorized)"


async def test_custom_resources(kubectl: Any) -> None:
    """Served as soon as defined: columns, defaults, validation, patches, scale, explain; gone with the definition."""
    await kubectl("apply", "-f", "-", stdin=CRONTABS)
    await kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=10s")
    assert await kubectl("apply", "-f", "-", stdin=CRONTAB) == "crontab.stable.example.com/nightly created\n"
    assert await kubectl("apply", "-f", "-", stdin=CRONTAB) == "crontab.stable.example.com/nightly unchanged\n"
    assert (await kubectl("get", "ct")).split() == ["NAME", "SCHEDULE", "nightly", "0", "0", "*", "*", "*"]
    await kubectl("scale", "ct", "nightly", "--replicas=4")
    assert await kubectl("get", "ct", "nightly", "-o", "jsonpath={.spec.size}") == "4"
    assert "When it runs." in await kubectl("explain", "ct.spec.schedule")
    bad = await kubectl.fails("patch", "ct", "nightly", "--type=merge", "-p", '{"spec":{"schedule":3}}')
    assert "must be of type string" in bad
    assert 'unknown field "spec.when"' in await kubectl.fails(
        "apply", "-f", "-", stdin=CRONTAB.replace("nightly}", "other}").replace("schedule", "when")
    )
    await kubectl("delete", "crd", "crontabs.stable.example.com")
    assert "could not find the requested resource" in await kubectl.fails("get", "ct")


async def test_describe_works_for_what_is_there(kubectl: Any) -> None:
    """describe reads objects, their events and their relatives without a complaint."""
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT + "---" + SERVICE + "---" + CONFIG)
    assert "nginx:1.27" in await kubectl("describe", "deploy", "web")
    assert "Endpoints" in await kubectl("describe", "svc", "web")
    assert "color" in await kubectl("describe", "cm", "settings")
    assert "Active" in await kubectl("describe", "ns", "default")


async def test_prune_removes_what_left_the_set(kubectl: Any) -> None:
    """apply --prune deletes labelled objects that are not applied any more."""
    labelled = CONFIG.replace("{name: settings}", "{name: NAME, labels: {set: a}}")
    both = labelled.replace("NAME", "one") + "---" + labelled.replace("NAME", "two")
    await kubectl("apply", "-f", "-", "--prune", "-l", "set=a", stdin=both)
    pruned = await kubectl("apply", "-f", "-", "--prune", "-l", "set=a", stdin=labelled.replace("NAME", "one"))
    assert "configmap/two pruned" in pruned


async def test_kustomize_is_applied(kubectl: Any) -> None:
    """-k builds on the client and applies as -f does."""
    (kubectl.home / "kustomization.yaml").write_text("namePrefix: my-\nresources: [config.yaml]\n")
    (kubectl.home / "config.yaml").write_text(CONFIG)
    assert await kubectl("apply", "-k", ".") == "configmap/my-settings created\n"


async def test_what_is_not_emulated_is_said(kubectl: Any) -> None:
    """A field without effect draws kubectl's own Warning line, naming it; the object is stored all the same."""
    spec = {"hostPID": True, "containers": [{"name": "c", "image": "nginx"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nosy"}, "spec": spec}
    done = await kubectl.run("apply", "-f", "-", stdin=json.dumps(pod))
    assert "Warning: spec.hostPID: is not emulated" in done.err
    assert "pod/nosy created" in done.out
