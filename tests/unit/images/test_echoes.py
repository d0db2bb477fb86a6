"""httpbin, podinfo and echoserver: what tutorials ask of them."""

import pytest

from .pods import Pods

HTTPBIN = {
    "/stream/2": (200, '"id": 1'),
    "/cookies/set?a=b": (302, ""),
    "/redirect-to?url=/ip": (302, ""),
    "/absolute-redirect/1": (302, ""),
    "/bearer": (401, ""),
    "/hidden-basic-auth/u/p": (404, ""),
    "/gzip": (200, '"gzipped": true'),
    "/base64/aGk=": (200, "hi"),
    "/response-headers?X-A=1": (200, '"X-A": "1"'),
    "/cache/60": (200, '"args"'),
    "/range/3": (200, "abc"),
    "/drip?numbytes=3&duration=0": (200, "***"),
    "/links/2/0": (200, "/links/2/1"),
    "/nowhere": (404, "not found"),
}


async def test_httpbin_answers_as_httpbin(pods: Pods) -> None:
    """Statuses and bodies of the endpoints that clients are tested with."""
    pod = await pods.run("kennethreitz/httpbin")
    for path, (status, part) in HTTPBIN.items():
        answer = await pod.get(path)
        assert (answer.status_code, part in answer.text) == (status, True), path
    sent = (await pod.get("/post", method="POST", files={"f": ("n.txt", b"hi")}, data={"a": "1"})).json()
    assert (sent["files"], sent["form"]) == ({"f": "hi"}, {"a": "1"})


async def test_podinfo_keeps_and_issues(pods: Pods) -> None:
    """Cache, store and tokens, and its own prober beside it."""
    pod = await pods.run("ghcr.io/stefanprodan/podinfo:6.5.0")
    await pod.get("/cache/a", 9898, "POST", content=b"v")
    assert (await pod.get("/cache/a", 9898)).text == "v"
    digest = (await pod.get("/store", 9898, "POST", content=b"data")).json()["hash"]
    assert (await pod.get(f"/store/{digest}", 9898)).text == "data"
    token = (await pod.get("/token", 9898, "POST", content=b"me")).json()["token"]
    valid = await pod.get("/token/validate", 9898, headers={"Authorization": f"Bearer {token}"})
    assert valid.json()["token_name"] == "me"
    assert (await pod.get("/token/validate", 9898)).status_code == 401
    assert (await pod.exec("podcli", "check", "http", "localhost:9898/readyz")).code == 0
    await pod.get("/readyz/disable", 9898, "POST")
    assert (await pod.exec("podcli", "check", "http", "localhost:9898/readyz")).code == 1


@pytest.mark.parametrize(("tag", "first"), [("1.4", "CLIENT VALUES:"), ("1.10", "\n\nHostname: pod-0")])
async def test_echoserver_has_the_text_of_its_version(tag: str, first: str, pods: Pods) -> None:
    """Tutorials show what 1.4 printed, newer ones what 1.10 does."""
    pod = await pods.run(f"registry.k8s.io/echoserver:{tag}")
    answer = await pod.get("/x?y=1", 8080)
    assert answer.text.startswith(first)
    assert "real path=/x?y=1" in answer.text
