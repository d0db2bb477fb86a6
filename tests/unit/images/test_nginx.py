"""nginx's configuration as manifests mount it: what a request meets, directive by directive."""

from pathlib import Path

import pytest

from minikube_py.images.nginx_conf import load

from .pods import Pods

CONF = """
upstream backend { server UP:8002; server UP:8003; }
server {
    listen 8085;
    root /srv/site;
    error_page 404 /missing.html;
    rewrite ^/old/(.*)$ /new/$1 permanent;
    location / { try_files $uri $uri/ /index.html; }
    location /static/ { alias /srv/assets/; autoindex on; }
    location /strict/ { try_files $uri =404; }
    location /named/ { try_files $uri @back; }
    location @back { return 200 "back of $uri"; }
    location /v1/ { rewrite ^/v1/(.*)$ /v2/$1 last; }
    location /v2/ { return 200 "v2 $uri"; }
    location /broken { rewrite ^/broken(.*)$ /api$1 break; proxy_pass http://backend; }
    location /status { stub_status; }
    location ~* \\.php$ { return 403; }
}
"""

ROWS = {
    "a file of the root": ("/page.html", 200, "page"),
    "a folder's index": ("/sub/", 200, "sub"),
    "what is no file is the app's": ("/any/where", 200, "index"),
    "alias replaces the prefix": ("/static/a.txt", 200, "asset"),
    "a folder is listed": ("/static/", 200, '<a href="a.txt">'),
    "try_files ends in a status, which has a page": ("/strict/no", 404, "gone"),
    "try_files ends in a named location": ("/named/x", 200, "back of /named/x"),
    "rewrite last looks for a location anew": ("/v1/a", 200, "v2 /v2/a"),
    "rewrite permanent redirects": ("/old/a", 301, "301"),
    "rewrite break stays and passes on": ("/broken/a?q=1", 200, "GET /api/a?q=1 HTTP/1.1"),
    "stub_status counts": ("/status", 200, "Active connections: 1"),
    "a regular expression goes before a prefix": ("/static/x.PHP", 403, "403"),
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_mounted_configuration_is_followed(name: str, pods: Pods, tmp_path: Path) -> None:
    """Each request ends where nginx would take it."""
    path, status, part = ROWS[name]
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    for file, text in (("index", "index"), ("page", "page"), ("missing", "gone"), ("sub/index", "sub")):
        (site / f"{file}.html").write_text(text)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.txt").write_text("asset")
    upstream = await pods.run("traefik/whoami", args=("--port=8002",), name="up-0")
    await pods.run("traefik/whoami", args=("--port=8003",), name="up-1")
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "site.conf").write_text(CONF.replace("UP:8003", "UP:8002").replace("UP", upstream.ip))
    mounts = {"/etc/nginx/conf.d": conf, "/srv/site": site, "/srv/assets": tmp_path / "assets"}
    pod = await pods.run("nginx", files=mounts, name="web-0")
    answer = await pod.get(path, 8085)
    assert (answer.status_code, part in answer.text) == (status, True), answer.text
    assert "has no effect" not in pod.log


async def test_a_certificate_that_is_not_there_ends_nginx(pods: Pods, tmp_path: Path) -> None:
    """The pod fails as the real one does, with the file's name in the log."""
    (tmp_path / "tls.conf").write_text(
        "server { listen 8443 ssl; ssl_certificate /tls/a.crt; ssl_certificate_key /k; }"
    )
    pod = await pods.run("nginx", files={"/etc/nginx/conf.d": tmp_path})
    assert await pod.task == 1
    assert '[emerg] cannot load certificate "/tls/a.crt"' in pod.log


def test_rewrites_that_go_round_end() -> None:
    """nginx gives up after ten rounds, with 500."""
    found = load({"a": "server { location / { rewrite ^/(.*)$ /x/$1 last; } }"}, 80)
    assert found.servers[0].route("/a").answer == (500, "")
