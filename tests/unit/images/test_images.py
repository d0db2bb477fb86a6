"""Stand-ins over real sockets: one test for each image says what its usual client sees."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from minikube_py.images.grpc_health import check

from .pods import Pods, Running


async def test_http_echo(pods: Pods) -> None:
    """http-echo answers every path with its text, app headers and the wanted status."""
    pod = await pods.run("hashicorp/http-echo:1.0", args=("-text=hello", "-listen=:7000", "-status-code=418"))
    answer = await pod.get("/any", 7000)
    assert (answer.status_code, answer.text) == (418, "hello\n")
    assert answer.headers["X-App-Name"] == "http-echo"
    assert await pod.end() == 0


async def test_http_echo_default_port_and_environment(pods: Pods) -> None:
    """Without flags the text comes from ECHO_TEXT and the port is 5678."""
    pod = await pods.run("hashicorp/http-echo", env={"ECHO_TEXT": "env"})
    assert (await pod.get("/", 5678)).text == "env\n"


async def test_http_echo_without_text_exits(pods: Pods) -> None:
    """http-echo without a text ends with 127, as the real one does."""
    pod = await pods.run("hashicorp/http-echo")
    assert await pod.task == 127
    assert "Missing -text" in pod.log


async def test_whoami(pods: Pods) -> None:
    """whoami names host, address, caller and request."""
    pod = await pods.run("traefik/whoami", args=("--port", "8001", "--name=coffee"))
    text = (await pod.get("/x?y=1", 8001)).text
    for part in ("Name: coffee\n", "Hostname: pod-0\n", f"IP: {pod.ip}\n", "RemoteAddr: 127.", "GET /x?y=1 HTTP/1.1"):
        assert part in text
    body = (await pod.get("/api", 8001, headers={"X-A": "b"})).json()
    assert (body["hostname"], body["headers"]["X-A"], body["name"]) == ("pod-0", ["b"], "coffee")
    assert len((await pod.get("/data?size=2&unit=KB", 8001)).content) == 2048
    assert (await pod.get("/bench", 8001)).text == "1"
    await pod.get("/health", 8001, "POST", content="503")
    assert (await pod.get("/health", 8001)).status_code == 503


async def test_nginx_welcome(pods: Pods) -> None:
    """nginx without content shows its default page and logs in combined format."""
    pod = await pods.run("nginx:1.25")
    answer = await pod.get()
    assert "<h1>Welcome to nginx!</h1>" in answer.text
    assert answer.headers["Server"].startswith("nginx/")
    assert '"GET / HTTP/1.1" 200' in pod.log
    assert (await pod.get("/none")).status_code == 404


async def test_nginx_content(pods: Pods, tmp_path: Path) -> None:
    """nginx serves what is mounted, and nothing outside of it."""
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("<b>mine</b>")
    (tmp_path / "secret").write_text("x")
    pod = await pods.run("nginx", files={"/usr/share/nginx/html": tmp_path / "html"})
    answer = await pod.get()
    assert (answer.text, answer.headers["Content-Type"].partition(";")[0]) == ("<b>mine</b>", "text/html")
    climbing = b"GET /../secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert b" 404 " in (await pod.talk(climbing, 80, eof=False))[:20]


async def test_nginx_conf(pods: Pods, tmp_path: Path) -> None:
    """Mounted configuration decides on ports, returns and proxied paths; what has no effect is named."""
    upstream = await pods.run("traefik/whoami", args=("--port=8002",), name="up-0")
    (tmp_path / "default.conf").write_text(
        f"""server {{ listen 8085; gzip on; limit_req zone=a;
        location = /hi {{ default_type text/plain; return 200 "hi $remote_addr\\n"; }}
        location /api/ {{ proxy_pass http://{upstream.ip}:8002/; proxy_set_header X-Real-IP $remote_addr; }} }}"""
    )
    pod = await pods.run("nginx", files={"/etc/nginx/conf.d": tmp_path})
    assert (await pod.get("/hi", 8085)).text.startswith("hi 127.")
    proxied = (await pod.get("/api/menu", 8085)).text
    assert "GET /menu HTTP/1.1" in proxied
    assert f"RemoteAddr: {pod.ip}:" in proxied
    assert "limit_req has no effect" in pod.log


async def _datagram(pod: Running, port: int, data: bytes) -> bytes:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            got.set_result(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(pod.ip, port))
    try:
        transport.sendto(data)
        return await asyncio.wait_for(got, 5)
    finally:
        transport.close()


async def test_agnhost_netexec(pods: Pods) -> None:
    """netexec serves its HTTP paths and UDP commands, and /dial calls another pod as the first."""
    pod = await pods.run("registry.k8s.io/e2e-test-images/agnhost:2.45", args=("netexec", "--http-port=8090"))
    other = await pods.run("agnhost", command=("/agnhost", "netexec", "--http-port", "8091"), name="pod-1")
    assert (await pod.get("/hostname", 8090)).text == "pod-0"
    assert (await pod.get("/echo?msg=a%20b", 8090)).text == "a b"
    assert (await pod.get("/header?key=X-A", 8090, headers={"X-A": "v"})).text == "v"
    assert (await pod.get("/clientip", 8090)).text.startswith("127.")
    dialed = await pod.get(f"/dial?host={other.ip}&port=8091&protocol=http&request=clientip&tries=2", 8090)
    assert [client.partition(":")[0] for client in json.loads(dialed.text)["responses"]] == [pod.ip, pod.ip]
    dialed = await pod.get(f"/dial?host={other.ip}&port=8081&protocol=udp&request=hostname", 8090)
    assert json.loads(dialed.text) == {"responses": ["pod-1"]}
    assert await _datagram(pod, 8081, b"echo hi") == b"hi"
    assert (await pod.get("/shell?cmd=echo%20in;hostname", 8090)).json() == {"output": "in\npod-0\n"}
    assert "exit status 3" in (await pod.get("/shell?cmd=exit%203", 8090)).text
    assert (await pod.get("/exit?code=3", 8090)).status_code == 200
    assert await asyncio.wait_for(pod.task, 5) == 3


@pytest.mark.parametrize("flag", ["--tcp", "--http", "--udp"])
async def test_agnhost_serve_hostname(pods: Pods, flag: str) -> None:
    """serve-hostname answers with the hostname in the wanted protocol."""
    pod = await pods.run("agnhost", args=("serve-hostname", flag, "--port=9377"))
    if flag == "--http":
        assert (await pod.get("/", 9377)).text == "pod-0"
    elif flag == "--tcp":
        assert await pod.talk(b"", 9377) == b"pod-0"
    else:
        assert await _datagram(pod, 9377, b"x") == b"pod-0"


async def test_agnhost_connect(pods: Pods) -> None:
    """connect ends with 0 when somebody listens, else 1 and REFUSED or DNS in the log."""
    server = await pods.run("traefik/whoami", args=("--port=8003",), name="server")
    good = await pods.run("agnhost", args=("connect", f"{server.ip}:8003", "--timeout=2s"))
    assert await good.task == 0
    bad = await pods.run("agnhost", args=("connect", f"{server.ip}:8004", "--timeout=2s"))
    assert (await bad.task, bad.log) == (1, "REFUSED\n")


async def test_pause(pods: Pods) -> None:
    """pause ends well when it is told to."""
    pod = await pods.run("registry.k8s.io/pause:3.9")
    assert await pod.end() == 0


async def test_generic_speaks_http_lines_grpc_and_udp(pods: Pods) -> None:
    """One port of the generic app answers HTTP, echoes lines and passes a gRPC health check."""
    pod = await pods.run("ghcr.io/acme/api", ports=(8080,), udp_ports=(8125,))
    body = (await pod.get("/healthz?x=1", 8080)).json()
    assert (body["pod"], body["namespace"], body["path"], body["image"]) == (
        *("pod-0", "default", "/healthz?x=1", "ghcr.io/acme/api"),
    )
    assert (await pod.get("/", 8080, headers={"Accept": "text/plain"})).text.startswith("pod: pod-0\n")
    assert await pod.talk(b"hello\n", 8080) == b"hello\n"
    assert await check(pod.ip, 8080) == (True, "service healthy")
    assert await _datagram(pod, 8125, b"m:1|c") == b"m:1|c"


async def test_generic_speaks_tls_to_who_begins_it(pods: Pods) -> None:
    """On the same port a caller that begins TLS gets HTTP within it, under a certificate that nobody signed."""
    pod = await pods.run("acme/secure", ports=(8443,))
    host, port = pods.fabric.real_address(pod.ip, 8443)
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        assert (await client.get(f"https://{host}:{port}/x")).json()["path"] == "/x"
    assert (await pod.get("/y", 8443)).json()["path"] == "/y"


async def test_generic_opens_more_ports_on_request(pods: Pods) -> None:
    """A Service that comes later can have its targetPort opened."""
    pod = await pods.run("ghcr.io/acme/api", ports=(8080,))
    context_task = asyncio.get_running_loop().create_task(
        pod.container.extra["listen"]("TCP", 8099), context=pods._running[0][0].context.copy()
    )
    await context_task
    assert (await pod.get("/", 8099)).status_code == 200


async def test_hello_app(pods: Pods) -> None:
    """hello-app tells its version by its tag."""
    pod = await pods.run("gcr.io/google-samples/hello-app:2.0")
    assert (await pod.get("/", 8080)).text == "Hello, world!\nVersion: 2.0.0\nHostname: pod-0\n"


async def test_node_hello(pods: Pods) -> None:
    """node-hello says hello on 8080."""
    pod = await pods.run("gcr.io/google-samples/node-hello:1.0")
    assert (await pod.get("/", 8080)).text == "Hello Kubernetes!"


async def test_nginx_hello(pods: Pods) -> None:
    """nginx-hello in plain text names server and URI."""
    pod = await pods.run("nginxdemos/nginx-hello:plain-text")
    text = (await pod.get("/tea", 8080)).text
    assert f"Server address: {pod.ip}:8080\nServer name: pod-0\n" in text
    assert "URI: /tea\n" in text


async def test_tcp_echo(pods: Pods) -> None:
    """tcp-echo puts its prefix before each line, on each of its ports."""
    pod = await pods.run("registry.istio.io/release/tcp-echo-server:1.3", args=("9000,9001", "one"))
    assert await pod.talk(b"a\nb\n", 9001) == b"one a\none b\n"


async def test_graceful_end_finishes_requests_in_flight(pods: Pods) -> None:
    """SIGTERM lets a request in flight finish."""
    pod = await pods.run("traefik/whoami", args=("--port=8005",))
    slow = asyncio.create_task(pod.get("/?wait=500ms", 8005))
    assert (await pod.get("/", 8005)).status_code == 200  # what was sent before it has arrived, too
    assert await pod.end() == 0
    assert (await slow).status_code == 200


async def test_httpd(pods: Pods, tmp_path: Path) -> None:
    """httpd works, and serves what is mounted."""
    pod = await pods.run("httpd:2.4")
    assert "It works!" in (await pod.get()).text
    (tmp_path / "index.html").write_text("mine")
    pod = await pods.run("httpd", files={"/usr/local/apache2/htdocs": tmp_path}, name="pod-1")
    assert (await pod.get()).text == "mine"


async def _answers(pod: Running, port: int = 80) -> None:
    """Wait until a port of the pod is open."""
    async with asyncio.timeout(5):
        while True:
            try:
                await pod.get("/", port)
            except httpx.TransportError:
                await asyncio.sleep(0)
            else:
                return


async def test_httpd_serves_what_a_script_wrote(pods: Pods) -> None:
    """`echo … > htdocs/index.html && httpd-foreground` is a common one-liner."""
    script = "echo mine > /usr/local/apache2/htdocs/index.html && httpd-foreground"
    pod = await pods.run("httpd:2.4", command=("sh", "-c", script))
    await _answers(pod)
    assert (await pod.get()).text == "mine\n"


@pytest.mark.parametrize("flags", ["-f -v", "-v"], ids=["foreground", "daemon"])
async def test_busybox_httpd(pods: Pods, flags: str) -> None:
    """busybox's own web server serves a folder, as a program in the foreground or behind the script."""
    script = f"mkdir -p /www/sub && echo hi > /www/index.html && httpd {flags} -p 8040 -h /www; sleep 600"
    pod = await pods.run("busybox:1.36", command=("sh", "-c", script))
    await _answers(pod, 8040)
    assert [(await pod.get(path, 8040)).status_code for path in ("/", "/sub/", "/../etc/passwd")] == [200, 404, 404]


@pytest.mark.parametrize(
    "script",
    [
        "apk add --no-cache curl && curl --version",
        "apt-get update && apt-get install -y dnsutils && which dig",
        "install -d -m 0750 /a/x && [ $(stat -c %a /a/x) = 750 ] && install -m 600 /etc/hosts /a/x && ls /a/x/hosts",
        "sysctl -w vm.max_map_count=262144 && [ $(sysctl -n vm.max_map_count) = 262144 ]",
    ],
)
async def test_a_tool_box_prepares_itself(pods: Pods, script: str) -> None:
    """What scripts do before they begin succeeds: packages whose tools are built in, kernel parameters."""
    pod = await pods.run("alpine:3", command=("sh", "-c", script), ends=True)
    assert await asyncio.wait_for(pod.task, 5) == 0


async def test_podinfo(pods: Pods) -> None:
    """podinfo shows its info, switches readiness, echoes through its backend and serves gRPC health."""
    back = await pods.run("stefanprodan/podinfo", args=("--port=9899",), name="back")
    command = ("./podinfo", "--port=9898", "--grpc-port=9999", f"--backend-url=http://{back.ip}:9899/echo")
    pod = await pods.run("ghcr.io/stefanprodan/podinfo:6.7.0", command=command)
    body = (await pod.get("/", 9898)).json()
    assert (body["hostname"], body["version"]) == ("pod-0", "6.7.0")
    await pod.get("/readyz/disable", 9898, "POST")
    assert (await pod.get("/readyz", 9898)).status_code == 503
    assert (await pod.get("/echo", 9898, "POST", content=b"hi")).json() == ["hi"]
    assert await check(pod.ip, 9999) == (True, "service healthy")


async def test_httpbin(pods: Pods) -> None:
    """httpbin gives the request back."""
    pod = await pods.run("kennethreitz/httpbin")
    body = (await pod.get("/anything/x?a=1", method="POST", json={"b": 2})).json()
    assert (body["args"], body["json"], body["method"]) == ({"a": "1"}, {"b": 2}, "POST")
    assert (await pod.get("/status/418")).status_code == 418


async def test_echoserver(pods: Pods) -> None:
    """echoserver shows the request as the pod got it."""
    pod = await pods.run("registry.k8s.io/echoserver:1.10")
    text = (await pod.get("/a?b=1", 8080)).text
    assert "Hostname: pod-0\n" in text
    assert "\treal path=/a?b=1\n" in text


async def test_kuard(pods: Pods) -> None:
    """kuard is healthy until it is told to fail n times."""
    pod = await pods.run("gcr.io/kuar-demo/kuard-amd64:blue")
    assert (await pod.get("/healthy", 8080)).text == "ok"
    await pod.get("/healthy/api", 8080, "PUT", content="1")
    assert [(await pod.get("/healthy", 8080)).status_code for _ in range(2)] == [500, 200]
