"""The server over real sockets: who may speak, every verb, every refusal."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer, PortTaken

CONFIGS = "/api/v1/namespaces/default/configmaps"


def config(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


@pytest.mark.parametrize("token", ["", "wrong", "a.b.c", "ü"], ids=["none", "wrong", "like a JWT", "not ASCII"])
async def test_nobody_without_the_token_gets_in(client: Any, token: str) -> None:
    """401 with a Status, for reading and writing, and nothing is written."""
    if token == "ü":
        token = token.encode().decode("latin-1")
    for method, path, body in (
        ("GET", "/api/v1/namespaces", None),
        ("GET", "/apis", None),
        ("POST", CONFIGS, config()),
    ):
        answer = await client(method, path, body, token=token)
        assert (answer.status, answer.json["reason"]) == (401, "Unauthorized")
    assert client.api.list("configmaps") == []


async def test_health_and_version_are_public(client: Any) -> None:
    """As in a real cluster (system:public-info-viewer), with and without trailing slash."""
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert (await client("GET", path, token="")).raw == b"ok"
    answer = await client("GET", "/version/", token="")
    assert (answer.json["minor"], answer.headers["Cache-Control"]) == ("32", "no-cache, private")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nonsense", 404),
        ("GET", "/api/v1/pood", 404),
        ("GET", "/apis/nope/v1/x", 404),
        ("GET", "/api/v1/namespaces/default/pods/%ff%00%2e%2e", 404),
        ("GET", "/" + "x/" * 3000, 404),
        ("GET", "/api/v1/pods/web", 404),
        ("GET", "/api/v1/namespaces/x/nodes", 404),
        ("GET", CONFIGS + "/missing", 404),
        ("GET", CONFIGS + "/missing/status", 404),
        ("TRACE", CONFIGS, 405),
        ("POST", CONFIGS + "/x", 405),
        ("DELETE", "/version", 405),
        ("GET", CONFIGS + "?labelSelector=%21%21%21", 400),
        ("GET", CONFIGS + "?fieldSelector=spec.foo%3Dbar", 400),
        ("GET", CONFIGS + "?limit=lots", 400),
        ("GET", CONFIGS + "?continue=garbage", 400),
        ("GET", CONFIGS + "?resourceVersion=soon", 400),
        ("GET", CONFIGS + "?resourceVersion=99999999", 504),
        ("GET", CONFIGS + "?watch=true&sendInitialEvents=true", 422),
    ],
)
async def test_malformed_request_has_a_status(client: Any, method: str, path: str, status: int) -> None:
    """Whatever is asked, the answer is a Status whose code is the HTTP status, and the server goes on."""
    answer = await client(method, path)
    assert (answer.status, answer.json["kind"], answer.json["code"]) == (status, "Status", status)
    assert (await client("GET", "/healthz")).status == 200


BOMB = "\n".join(["a: &a0 [x]", *(f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))]).encode()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"kind":"Secret"}', "application/json", 400),
        (b'{"apiVersion":"v2"}', "application/json", 400),
        (b'{"metadata":[]}', "application/json", 400),
        (b'{"metadata":{"name":5}}', "application/json", 400),
        (b'{"metadata":{"name":"Bad_Name"}}', "application/json", 422),
        (b'{"metadata":{}}', "application/json", 422),
        (b'{"metadata":{"name":"x","namespace":"other"}}', "application/json", 400),
        (b'{"metadata":{"name":"x"},"data":{"a":1}}', "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"\xff", "application/yaml", 400),
        (b"data: " + b"[" * 100_000, "application/yaml", 400),  # libyaml would end the process
        (b"data: " + b"- " * 100_000, "application/yaml", 400),
        (BOMB, "application/yaml", 400),
        (b"<x/>", "application/xml", 415),
        (b"k8s\x00\xff\xff\xff", "application/vnd.kubernetes.protobuf", 400),
        (b"not protobuf", "application/vnd.kubernetes.protobuf", 400),
        (b"x" * (3 * 1024 * 1024 + 1), "application/json", 413),
        (b"x" * (17 * 1024 * 1024), "application/json", 413),
    ],
    ids=range(24),
)
async def test_malformed_body_has_a_status(client: Any, body: bytes, content_type: str, status: int) -> None:
    """Whatever is sent, the answer is a Status and nothing is stored."""
    answer = await client("POST", CONFIGS, body, Content_Type=content_type)
    assert (answer.status, answer.json["kind"], answer.json["code"]) == (status, "Status", status)
    assert client.api.list("configmaps") == []


async def test_a_config_map_of_one_megabyte_is_stored(client: Any) -> None:
    """Large is not too large."""
    answer = await client("POST", CONFIGS, config(data={"x": "y" * 1_000_000}))
    assert answer.status == 201
    big = await client("GET", CONFIGS + "/c", Accept_Encoding="gzip")
    assert big.headers["Content-Encoding"] == "gzip"
    assert len(big.json["data"]["x"]) == 1_000_000


async def test_life_of_an_object(client: Any) -> None:
    """Create, read, list, replace, patch, delete, each with its code and Kubernetes' form of answer."""
    made = await client("POST", CONFIGS, {"metadata": {"name": "c"}, "data": {"a": "1"}})  # kind from the URL
    assert (made.status, made.json["kind"]) == (201, "ConfigMap")
    assert (await client("POST", CONFIGS, config())).json["reason"] == "AlreadyExists"
    listed = await client("GET", CONFIGS)
    assert (listed.json["kind"], [i["metadata"]["name"] for i in listed.json["items"]]) == ("ConfigMapList", ["c"])
    replaced = await client("PUT", CONFIGS + "/c", {**made.json, "data": {"a": "2"}})
    assert (replaced.status, replaced.json["data"]) == (200, {"a": "2"})
    stale = await client("PUT", CONFIGS + "/c", {**made.json, "data": {"a": "3"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    patch = json.dumps({"data": {"b": "1"}}).encode()
    patched = await client("PATCH", CONFIGS + "/c", patch, Content_Type="application/merge-patch+json")
    assert patched.json["data"] == {"a": "2", "b": "1"}
    gone = await client("DELETE", CONFIGS + "/c")
    assert (gone.json["status"], gone.json["details"]["name"]) == ("Success", "c")
    assert (await client("GET", CONFIGS + "/c")).json["message"] == 'configmaps "c" not found'


async def test_status_is_written_apart(client: Any) -> None:
    """PUT and PATCH of `status` change nothing else."""
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    made = await client("POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    assert made.json["status"]["phase"] == "Pending"
    body = json.dumps({"status": {"phase": "Running"}, "metadata": {"labels": {"no": "no"}}}).encode()
    answer = await client("PATCH", pods + "/p/status", body, Content_Type="application/strategic-merge-patch+json")
    assert answer.json["status"]["phase"] == "Running"
    assert "labels" not in answer.json["metadata"]


@pytest.mark.parametrize(
    ("validation", "status", "warnings"),
    [
        ("Strict", 400, []),
        ("Warn", 201, ['299 - "unknown field \\"foo\\""']),
        ("Ignore", 201, []),
        ("Maybe", 422, []),
    ],
)
async def test_field_validation(client: Any, validation: str, status: int, warnings: list[str]) -> None:
    """Unknown fields are refused, warned of or dropped silently, and never stored."""
    answer = await client("POST", f"{CONFIGS}?fieldValidation={validation}", config(foo=1))
    assert (answer.status, answer.headers.getall("Warning", [])) == (status, warnings)
    assert "foo" not in answer.json
    if validation == "Strict":
        assert answer.json["message"] == (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "foo"'
        )


async def test_duplicate_fields_are_told(client: Any) -> None:
    """The same key twice in one object is named by its path."""
    body = b'{"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}'
    answer = await client("POST", CONFIGS + "?fieldValidation=Strict", body)
    assert 'duplicate field "data.a"' in answer.json["message"]


async def test_pages_of_a_list_fit_together(client: Any) -> None:
    """limit/continue shows the state of the first page, whatever is written between."""
    for number in range(7):
        await client("POST", CONFIGS, config(f"c{number}"))
    first = (await client("GET", CONFIGS + "?limit=3")).json
    assert first["metadata"]["remainingItemCount"] == 4
    await client("DELETE", CONFIGS + "/c5")
    await client("POST", CONFIGS, config("b"))
    names = [item["metadata"]["name"] for item in first["items"]]
    page = first
    while token := page["metadata"].get("continue"):
        page = (await client("GET", f"{CONFIGS}?limit=3&continue={token}")).json
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
    assert names == [f"c{number}" for number in range(7)]


async def test_forms_of_an_answer(client: Any) -> None:
    """The same list as table, as metadata only and as YAML; protobuf alone is not acceptable."""
    await client("POST", CONFIGS, config(data={"a": "1"}))
    table = await client("GET", CONFIGS, Accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    assert (table.json["kind"], table.json["rows"][0]["cells"][:2]) == ("Table", ["c", 1])
    assert table.json["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    assert "data" not in (await client("GET", CONFIGS, Accept=partial)).json["items"][0]
    assert b"kind: ConfigMapList" in (await client("GET", CONFIGS, Accept="application/yaml")).raw
    assert (await client("GET", CONFIGS, Accept="application/vnd.kubernetes.protobuf")).status == 406


async def test_fifty_writers_lose_no_update(client: Any) -> None:
    """Each of 50 concurrent clients adds one; who meets a conflict reads again."""
    await client("POST", CONFIGS, config(data={"n": "0"}))

    async def add() -> None:
        while True:
            obj = (await client("GET", CONFIGS + "/c")).json
            obj["data"]["n"] = str(int(obj["data"]["n"]) + 1)
            answer = await client("PUT", CONFIGS + "/c", obj)
            if answer.status == 200:
                return
            assert answer.json["reason"] == "Conflict"

    await asyncio.gather(*(add() for _ in range(50)))
    assert (await client("GET", CONFIGS + "/c")).json["data"]["n"] == "50"


async def watch(client: Any, query: str, count: int, path: str = CONFIGS) -> list[dict[str, Any]]:
    """Return the first events of a watch."""
    headers = {"Authorization": f"Bearer {client.server.credentials.token}"}
    events: list[dict[str, Any]] = []
    async with client.session.get(f"{client.server.url}{path}?watch=true&{query}", headers=headers) as response:
        async for line in response.content:
            events.append(json.loads(line))
            if len(events) == count:
                break
        response.close()
    return events


def said(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


async def test_watch_from_a_revision_gives_all_that_came_after(client: Any) -> None:
    """History first, then what happens, without gap."""
    since = (await client("GET", CONFIGS)).json["metadata"]["resourceVersion"]
    await client("POST", CONFIGS, config("a"))
    watching = asyncio.create_task(watch(client, f"resourceVersion={since}", 3))
    await asyncio.sleep(0)
    await client("POST", CONFIGS, config("b"))
    await client("DELETE", CONFIGS + "/a")
    assert said(await watching) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_watch_with_selector_turns_changes_of_labels_into_arrivals_and_departures(client: Any) -> None:
    """An object that stops matching is DELETED, one that starts is ADDED."""
    labelled = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "1"}}}
    since = client.api.revision
    await client("POST", CONFIGS, config("a"))
    await client("PUT", CONFIGS + "/a", labelled)
    await client("PUT", CONFIGS + "/a", {**labelled, "data": {"k": "v"}})
    await client("PUT", CONFIGS + "/a", config("a"))
    events = await watch(client, f"resourceVersion={since}&labelSelector=x%3D1", 3)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert int(events[2]["object"]["metadata"]["resourceVersion"]) == client.api.revision


async def test_watch_from_nothing_begins_with_the_present(client: Any) -> None:
    """resourceVersion 0 or none sends what there is as ADDED; kubectl -w relies on it."""
    await client("POST", CONFIGS, config("a"))
    assert said(await watch(client, "resourceVersion=0", 1)) == [("ADDED", "a")]
    table = await watch(client, "fieldSelector=metadata.name%3Da", 1)
    assert said(table) == [("ADDED", "a")]


async def test_watch_list_ends_its_initial_events_with_a_bookmark(client: Any) -> None:
    """sendInitialEvents: all objects, then the bookmark with the annotation that reflectors wait for."""
    await client("POST", CONFIGS, config("a"))
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await watch(client, query, 2)
    assert said(events) == [("ADDED", "a"), ("BOOKMARK", "")]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_watch_of_a_forgotten_revision_is_410(client: Any) -> None:
    """After compaction the client is told to list again."""
    await client("POST", CONFIGS, config("a"))
    client.api.store.compact()
    answer = await client("GET", CONFIGS + "?watch=true&resourceVersion=1")
    assert (answer.status, answer.json["reason"]) == (410, "Expired")


async def test_watch_ends_after_its_timeout(client: Any) -> None:
    """timeoutSeconds is honoured with a clean end."""
    async with asyncio.timeout(5):
        assert (await client("GET", CONFIGS + "?watch=true&timeoutSeconds=1")).raw == b""


async def test_vanished_watcher_is_forgotten(client: Any) -> None:
    """A client that goes away leaves no watch behind, and writes go on."""
    await client("POST", CONFIGS, config("a"))
    await watch(client, "resourceVersion=0", 1)
    async with asyncio.timeout(5):
        while len(client.server._hub):
            await asyncio.sleep(0.01)


async def test_hundred_watchers_share_the_bytes_of_an_event(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event is turned into JSON once for all of them."""
    from minikube_py.apiserver import watches

    made = []
    real = watches.encode
    monkeypatch.setattr(watches, "encode", lambda value: made.append(1) or real(value))
    watching = [asyncio.create_task(watch(client, f"resourceVersion={client.api.revision}", 1)) for _ in range(100)]
    async with asyncio.timeout(20):
        while len(client.server._hub) < 100:
            await asyncio.sleep(0.01)
        client.api.create({**config("a"), "metadata": {"name": "a", "namespace": "default"}})
        assert [said(events) for events in await asyncio.gather(*watching)] == [[("ADDED", "a")]] * 100
    assert len(made) == 1


async def test_stop_ends_watches_at_once(credentials: Credentials) -> None:
    """Closing the server doesn't wait for clients."""
    clock = LoopClock()
    server = APIServer(Operations(clock), clock=clock, port=0, credentials=credentials)
    await server.start()
    connector = aiohttp.TCPConnector(ssl=credentials.client_context())
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(5):
        headers = {"Authorization": f"Bearer {credentials.token}"}
        async with session.get(server.url + CONFIGS + "?watch=true", headers=headers) as response:
            await server.stop()
            assert await response.content.read() == b""


async def test_taken_port_is_one_clear_sentence(server: APIServer, credentials: Credentials) -> None:
    """A port that was asked for and is taken: PortTaken says which and what to do."""
    clock = LoopClock()
    second = APIServer(Operations(clock), clock=clock, port=server.port, credentials=credentials)
    with pytest.raises(PortTaken, match=f"127.0.0.1:{server.port} is taken"):
        await second.start()


async def test_without_a_wish_the_next_free_port_is_taken(credentials: Credentials) -> None:
    """Two servers of one machine come up side by side."""
    clock = LoopClock()
    servers = [APIServer(Operations(clock), clock=clock, credentials=credentials) for _ in range(2)]
    try:
        for server in servers:
            await server.start()
        assert servers[0].port != servers[1].port
    finally:
        for server in servers:
            await server.stop()


async def test_service_account_tokens_are_issued_and_known(client: Any) -> None:
    """TokenRequest gives a token that TokenReview and the API know as its account's."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await client("POST", accounts, {"metadata": {"name": "bob"}})
    made = await client("POST", accounts + "/bob/token", {"spec": {"expirationSeconds": 600}})
    token = made.json["status"]["token"]
    reviews = "/apis/authentication.k8s.io/v1/"
    me = await client("POST", reviews + "selfsubjectreviews", {}, token=token)
    assert me.json["status"]["userInfo"]["username"] == "system:serviceaccount:default:bob"
    review = await client("POST", reviews + "tokenreviews", {"spec": {"token": token + "x"}})
    assert review.json["status"]["authenticated"] is False


async def test_eviction_respects_a_budget(client: Any) -> None:
    """429 with the budget's numbers while it allows none, then 201 and the pod goes."""
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    await client("POST", pods, {"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": spec})
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    client.api.modify("pods", "p", "default", lambda o: o.update(status=running), subresource="status")
    client.api.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
        }
    )

    def allow(count: int) -> None:
        status = {"disruptionsAllowed": count, "desiredHealthy": 1, "currentHealthy": 1, "observedGeneration": 1}
        client.api.modify(
            "poddisruptionbudgets.policy", "b", "default", lambda o: o.update(status=status), subresource="status"
        )

    allow(0)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    refused = await client("POST", pods + "/p/eviction", body)
    assert (refused.status, refused.json["reason"]) == (429, "TooManyRequests")
    assert refused.json["details"]["causes"][0]["message"] == (
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    )
    allow(1)
    assert (await client("POST", pods + "/p/eviction", body)).status == 201
    assert client.api.get("pods", "p", "default") is None


async def test_delete_collection_deletes_what_matches(client: Any) -> None:
    """One request, one selector."""
    for name in ("a", "b"):
        await client("POST", CONFIGS, config(name))
    answer = await client("DELETE", CONFIGS + "?fieldSelector=metadata.name%3Da")
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in (await client("GET", CONFIGS)).json["items"]] == ["b"]


async def test_openapi_documents_are_complete_and_cacheable(client: Any) -> None:
    """Every reference resolves; the hashed address may be kept for ever."""
    index = (await client("GET", "/openapi/v3")).json["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/autoscaling/v1", "apis/apiextensions.k8s.io/v1"} <= index.keys()
    for entry in index.values():
        answer = await client("GET", entry["serverRelativeURL"])
        assert answer.headers["Cache-Control"] == "public, immutable"
        schemas = answer.json["components"]["schemas"]
        for reference in references(answer.json):
            assert reference.removeprefix("#/components/schemas/") in schemas


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return []


async def test_discovery_in_both_forms_agrees(client: Any) -> None:
    """The aggregated document lists the same resources as the old ones; an unchanged one is 304."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for root in ("/api", "/apis"):
        found = await client("GET", root, Accept=accept)
        assert found.headers["Content-Type"] == accept
        for group in found.json["items"]:
            for version in group["versions"]:
                name = group["metadata"].get("name", "")
                path = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
                old = {entry["name"] for entry in (await client("GET", path)).json["resources"]}
                assert {entry["resource"] for entry in version["resources"]} == {n for n in old if "/" not in n}
        assert (await client("GET", root, Accept=accept, If_None_Match=found.headers["ETag"])).status == 304
