"""The common cases of kubectl, for machines without it: get, describe, logs, exec, apply, delete, scale, wait.

Over the same API as the real one; the flags are kubectl's, as far as they go.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import click

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.cli.api import Client, RemoteView
from minikube_py.cli.console import ExitCode, Failure, table
from minikube_py.cli.up import duration
from minikube_py.cluster.targets import Target, UnknownTarget, kind_named
from minikube_py.cluster.waiting import lacking
from minikube_py.kinds.kind import Kind

__all__ = ["run"]

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def run(words: Sequence[str], facts: dict[str, Any]) -> int:
    """Run one command; return its exit code.

    Error handling: Failure with kubectl's wording (`Error from server (NotFound): …`).
    """
    client = Client(facts)
    try:
        result = _kubectl.main(list(words), prog_name="mkpy", standalone_mode=False, obj=client)
    except StatusError as error:
        raise Failure(f"Error from server ({error.reason}): {error.message}") from None
    except UnknownTarget as error:
        raise Failure(str(error)) from None
    return int(result or 0)


@click.group()
def _kubectl() -> None:
    """The built-in kubectl."""


def _namespaced(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-n", "--namespace", default="default")(function)


def _named(client: Client, words: Sequence[str]) -> list[tuple[Kind, str]]:
    """Read `pod x y`, `pod/x deploy/y`, `pods`: (kind, name), with name "" for all."""
    if not words:
        raise Failure("you must say which resource, such as: mkpy get pods", ExitCode.USAGE)
    if "/" in words[0]:
        pairs = [word.partition("/") for word in words]
        return [(kind_named(kind, client.registry), name) for kind, _, name in pairs]
    names = words[1:] or [""]
    return [(kind_named(kind, client.registry), name) for kind in words[0].split(",") for name in names]


@_kubectl.command("get")
@_namespaced
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("-l", "--selector", default="")
@click.option("--field-selector", default="")
@click.option("-o", "--output", default="")
@click.option("--no-headers", is_flag=True)
@click.argument("words", nargs=-1)
@click.pass_obj
def _get(
    client: Client,
    namespace: str,
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    output: str,
    no_headers: bool,
    words: tuple[str, ...],
) -> None:
    if output not in ("", "wide", "json", "yaml", "name") and not output.startswith("jsonpath="):
        raise Failure(
            f'unable to match a printer suitable for the output format "{output}": built in are json, yaml, '
            "name, wide and jsonpath=; kubectl has more",
            ExitCode.USAGE,
        )
    query = {key: value for key, value in (("labelSelector", selector), ("fieldSelector", field_selector)) if value}
    found = 0
    objects: list[Any] = []
    for kind, name in _named(client, words):
        path = client.path(kind, None if all_namespaces else namespace, name)
        if output not in ("", "wide"):
            answer = client.request("GET", path, query=query)
            items = [answer] if name else answer["items"]
            for item in items:
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            objects.extend(items)
            continue
        answer = client.request("GET", path, query=query, accept=_TABLE)
        columns = [i for i, c in enumerate(answer["columnDefinitions"]) if output == "wide" or not c.get("priority")]
        header = [answer["columnDefinitions"][i]["name"].upper() for i in columns]
        rows = [[row["cells"][i] for i in columns] for row in answer["rows"]]
        if all_namespaces and kind.namespaced:
            header.insert(0, "NAMESPACE")
            for cells, row in zip(rows, answer["rows"], strict=True):
                cells.insert(0, row["object"]["metadata"].get("namespace", ""))
        found += len(rows)
        if rows:
            click.echo(table(rows, () if no_headers else header))
    if output == "name":
        for item in objects:
            click.echo(f"{item['kind'].lower()}/{meta.name(item)}")
    elif output not in ("", "wide"):
        single = len(objects) == 1 and len(words) == 2
        result = objects[0] if single else {"apiVersion": "v1", "kind": "List", "items": objects}
        if output.startswith("jsonpath="):
            click.echo(_expanded(output.removeprefix("jsonpath="), result), nl=False)
        else:
            _print(result, output)
    elif not found:
        where = "" if all_namespaces else f" in {namespace} namespace"
        click.echo(f"No resources found{where}.", err=True)


def _expanded(template: str, value: Any) -> str:
    """Return a JSONPath template filled in: text and `{.path}` expressions, without ranges."""
    from minikube_py.kinds.jsonpath import find

    def one(match: re.Match[str]) -> str:
        if match[1].startswith('"'):
            return str(json.loads(match[1]))
        found = find(value, match[1])
        return " ".join(json.dumps(item) if isinstance(item, bool | dict | list) else str(item) for item in found)

    return re.sub(r"\{([^{}]*)\}", one, template)


def _print(value: Any, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(value, indent=4))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False), nl=False)


@_kubectl.command("describe")
@_namespaced
@click.argument("words", nargs=-1)
@click.pass_obj
def _describe(client: Client, namespace: str, words: tuple[str, ...]) -> None:
    """The object as YAML and its events: less dressed than kubectl's, with the same content."""
    for kind, name in _named(client, words):
        answer = client.request("GET", client.path(kind, namespace, name))
        for obj in answer.get("items", [answer]):
            obj["metadata"].pop("managedFields", None)
            _print(obj, "yaml")
            events = client.list(
                "events", meta.namespace(obj) or "default", fieldSelector=f"involvedObject.name={meta.name(obj)}"
            )
            click.echo("Events:" + ("" if events else "  <none>"))
            if events:
                click.echo(
                    table(
                        [(e["type"], e["reason"], e.get("count", 1), e["message"]) for e in events],
                        ("TYPE", "REASON", "COUNT", "MESSAGE"),
                    )
                )


@_kubectl.command("logs")
@_namespaced
@click.option("-c", "--container", default="")
@click.option("-f", "--follow", is_flag=True)
@click.option("-p", "--previous", is_flag=True)
@click.option("--tail", type=int, default=-1)
@click.argument("target")
@click.pass_obj
def _logs(client: Client, namespace: str, container: str, follow: bool, previous: bool, tail: int, target: str) -> None:
    from minikube_py.cluster.targets import pod_of

    pod = pod_of(RemoteView(client), target, namespace)
    query = {
        key: value
        for key, value in (
            ("container", container or meta.spec(pod)["containers"][0]["name"]),
            ("follow", "true" if follow else ""),
            ("previous", "true" if previous else ""),
            ("tailLines", str(tail) if tail >= 0 else ""),
        )
        if value
    }
    path = client.path(client.registry.by_resource("pods"), meta.namespace(pod), meta.name(pod))
    with client.open("GET", f"{path}/log", query=query) as response:
        while chunk := response.read1(65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()


@_kubectl.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_namespaced
@click.option("-c", "--container", default="")
@click.option("-i", "--stdin", is_flag=True)
@click.option("-t", "--tty", is_flag=True)
@click.argument("target")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def _exec(
    client: Client, namespace: str, container: str, stdin: bool, tty: bool, target: str, argv: tuple[str, ...]
) -> int:
    if tty:
        raise Failure("exec -t needs kubectl; without it, use exec (or exec -i) with a command", ExitCode.USAGE)
    from minikube_py.cli.remote_exec import remote_exec
    from minikube_py.cluster.targets import pod_of

    pod = pod_of(RemoteView(client), target, namespace)
    words = argv[1:] if argv[0] == "--" else argv
    path = client.path(client.registry.by_resource("pods"), meta.namespace(pod), meta.name(pod))
    data = sys.stdin.buffer.read() if stdin else None
    return remote_exec(client, f"{path}/exec", container or meta.spec(pod)["containers"][0]["name"], words, data)


@_kubectl.command("apply")
@_namespaced
@click.option("-f", "--filename", "paths", multiple=True, required=True)
@click.pass_obj
def _apply(client: Client, namespace: str, paths: tuple[str, ...]) -> None:
    from minikube_py.cli.validate import checked
    from minikube_py.cluster.apply import in_order

    for obj in in_order(manifest.object for manifest in checked(paths, strict=False)[0]):
        kind = client.registry.by_gvk(obj["apiVersion"], obj["kind"])
        where = obj["metadata"].get("namespace") or namespace
        before = client.get(kind.resource, meta.name(obj), where if kind.namespaced else "")
        after = client.request(
            "PATCH",
            client.path(kind, where, meta.name(obj)),
            query={"fieldManager": "mkpy", "force": "true"},
            body=json.dumps(obj).encode(),
            content_type="application/apply-patch+yaml",
        )
        same = before and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
        outcome = "created" if before is None else "unchanged" if same else "configured"
        click.echo(f"{_printed(kind)}/{meta.name(obj)} {outcome}")


def _printed(kind: Kind) -> str:
    return f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()


@_kubectl.command("delete")
@_namespaced
@click.option("-f", "--filename", "paths", multiple=True)
@click.option("--grace-period", type=int, default=-1)
@click.option("--force", is_flag=True)
@click.option("--now", is_flag=True)
@click.option("--wait/--no-wait", default=True)
@click.argument("words", nargs=-1)
@click.pass_obj
def _delete(
    client: Client,
    namespace: str,
    paths: tuple[str, ...],
    grace_period: int,
    force: bool,
    now: bool,
    wait: bool,
    words: tuple[str, ...],
) -> None:
    targets: list[tuple[Kind, str, str]] = []
    if paths:
        from minikube_py.cli.validate import checked
        from minikube_py.cluster.apply import in_order

        for obj in reversed(in_order(manifest.object for manifest in checked(paths, strict=False)[0])):
            kind = client.registry.by_gvk(obj["apiVersion"], obj["kind"])
            targets.append((kind, meta.name(obj), obj["metadata"].get("namespace") or namespace))
    else:
        targets = [(kind, name, namespace) for kind, name in _named(client, words)]
    grace = 0 if force and grace_period < 0 else 1 if now else grace_period
    query = {"gracePeriodSeconds": str(grace)} if grace >= 0 else {}
    deleted: list[tuple[Kind, str, str, str | None]] = []
    for kind, name, where in targets:
        if not name:
            raise Failure(f"say which {kind.plural} to delete, by name", ExitCode.USAGE)
        answer = client.request("DELETE", client.path(kind, where, name), query=query)
        click.echo(f'{_printed(kind)} "{name}" deleted')
        deleted.append(
            (kind, name, where, answer.get("metadata", {}).get("uid") or answer.get("details", {}).get("uid"))
        )
    for kind, name, where, uid in deleted if wait else ():
        _until(client, kind, name, where, partial(_not_gone, uid))


def _not_gone(uid: str | None, obj: Object | None) -> str | None:
    return f"{meta.name(obj)} still exists" if obj and uid in (None, meta.uid(obj)) else None


@_kubectl.command("scale")
@_namespaced
@click.option("--replicas", type=click.IntRange(min=0), required=True)
@click.argument("words", nargs=-1)
@click.pass_obj
def _scale(client: Client, namespace: str, replicas: int, words: tuple[str, ...]) -> None:
    for kind, name in _named(client, words):
        path = f"{client.path(kind, namespace, name)}/scale"
        body = json.dumps({"spec": {"replicas": replicas}}).encode()
        client.request("PATCH", path, body=body, content_type="application/merge-patch+json")
        click.echo(f"{_printed(kind)}/{quote(name)} scaled")


@_kubectl.command("wait")
@_namespaced
@click.option("--for", "wanted", required=True, metavar="delete|condition=NAME[=VALUE]")
@click.option("--timeout", default="30s", callback=duration)
@click.argument("words", nargs=-1)
@click.pass_obj
def _wait(client: Client, namespace: str, wanted: str, timeout: float, words: tuple[str, ...]) -> None:
    condition = wanted.removeprefix("condition=") if wanted.startswith("condition=") else None
    if condition is None and wanted != "delete":
        raise Failure("built in are --for=delete and --for=condition=NAME; kubectl has more", ExitCode.USAGE)
    for kind, name in _named(client, words):
        target = Target(kind.resource, name, namespace if kind.namespaced else "")
        unmet = partial(lacking, target, condition=condition) if condition else partial(_not_gone, None)
        _until(client, kind, name, namespace, unmet, timeout)
        click.echo(f"{_printed(kind)}/{name} " + ("condition met" if condition else "deleted"))


_ROLLED_OUT = ("deployments.apps", "daemonsets.apps", "statefulsets.apps")


@_kubectl.command("rollout")
@_namespaced
@click.option("--timeout", default="60s", callback=duration)
@click.argument("words", nargs=-1)
@click.pass_obj
def _rollout(client: Client, namespace: str, timeout: float, words: tuple[str, ...]) -> None:
    if not words or words[0] != "status":
        raise Failure("built in is: rollout status; the rest of rollout needs kubectl", ExitCode.USAGE)
    for kind, name in _named(client, words[1:]):
        if kind.resource not in _ROLLED_OUT:
            raise Failure(f"no status viewer has been implemented for {kind.kind}")
        target = Target(kind.resource, name, namespace)
        _until(client, kind, name, namespace, partial(lacking, target), timeout)
        click.echo(f'{kind.kind.lower()} "{name}" successfully rolled out')


def _until(
    client: Client,
    kind: Kind,
    name: str,
    namespace: str,
    unmet: Callable[[Object | None], str | None],
    timeout: float = math.inf,
) -> None:
    """Return once `unmet` finds nothing missing in an object, which is None while it doesn't exist."""
    missing: str | None = None
    for obj in client.watch(kind, name, namespace, seconds=timeout):
        if (missing := unmet(obj)) is None:
            return
    raise Failure(f"timed out waiting for the condition: {missing}")
