"""nginx: the default page, mounted content, and the directives that manifests put into a ConfigMap.

Of mounted `*.conf` files it honours, per server: listen (ssl, too), server_name, root, alias, index, autoindex,
location (prefix, `=`, `~`, `~*`, `@name`), try_files, rewrite, return, error_page, stub_status, proxy_pass (to names of
the cluster and to upstreams), proxy_set_header, add_header, default_type.
Leaves out: everything else (each ignored directive is named in the log), caching, upstream balancing options.
"""

import asyncio
import itertools
import mimetypes
import os
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from minikube_py.images.container import Container
from minikube_py.images.nginx_conf import Location, Server, choose, interpolate, load
from minikube_py.images.web import HTTPServer

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

__all__ = ["IMAGES", "WELCOME", "find_file", "main"]

IMAGES = (
    "nginx",
    "nginxinc/nginx-unprivileged",
    "bitnami/nginx",
    "*/nginx",
    "*/nginx-slim",
    "*/nginx-unprivileged",
)

SERVER = "nginx/1.27.3"

WELCOME = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p>For online documentation and support please refer to
<a href="http://nginx.org/">nginx.org</a>.<br/>
Commercial support is available at
<a href="http://nginx.com/">nginx.com</a>.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"""

_HTML = "/usr/share/nginx/html"
_REASONS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Not Allowed", 502: "Bad Gateway"}


_CONFIGURATION = {
    "/etc/nginx/nginx.conf": b"events {}\nhttp {\n    include /etc/nginx/conf.d/*.conf;\n}\n",
    "/etc/nginx/conf.d/default.conf": (
        b"server {\n    listen 80;\n    location / {\n        root /usr/share/nginx/html;\n"
        b"        index index.html index.htm;\n    }\n}\n"
    ),
}
IMAGE_FILES = {f"{_HTML}/index.html": WELCOME.encode(), f"{_HTML}/50x.html": b"", **_CONFIGURATION}
"""What scripts and exec sessions find of the image's own files."""


def _error_page(status: int) -> str:
    title = f"{status} {_REASONS.get(status, 'Error')}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    )


def find_file(container: Container, path: str) -> Path | None:
    """Return where a path of the container's file system is on this machine, if a volume is mounted there.

    A path that climbs out of its volume is not found.
    """
    mounts = sorted((mount for mount in container.files if path == mount or path.startswith(f"{mount}/")), key=len)
    if not mounts:
        return None
    base = container.files[mounts[-1]]
    found = base / path[len(mounts[-1]) :].lstrip("/")
    if not found.resolve().is_relative_to(base.resolve()):
        return None
    return found if found.exists() else None


async def main(container: Container) -> int:
    from aiohttp import web

    default_port = 8080 if "unprivileged" in container.image or "bitnami" in container.image else 80
    texts = {}
    for mount in container.files:
        if "nginx" in mount:
            found = container.files[mount]
            files = [found] if found.is_file() else sorted(p for p in found.rglob("*") if p.is_file())
            texts.update({str(p): p.read_text("utf-8", "replace") for p in files if _is_conf(mount, p)})
    texts.update(_scripted(container))
    configuration = load(texts, default_port)
    servers = configuration.servers
    rounds = {name: itertools.cycle(hosts) for name, hosts in configuration.upstreams.items() if hosts}
    counted = 0
    for name in configuration.ignored:
        container.print(f"minikube-py: directive {name} has no effect in this stand-in of nginx")

    def log(request: "web.BaseRequest", status: int, size: int) -> None:
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        version = f"HTTP/{request.version.major}.{request.version.minor}"
        forwarded = request.headers.get("X-Forwarded-For", "-")
        container.print(
            f'{request.remote} - - [{stamp}] "{request.method} {request.path_qs} {version}" {status} {size} '
            f'"{request.headers.get("Referer", "-")}" "{request.headers.get("User-Agent", "-")}" "{forwarded}"'
        )

    def page(status: int) -> "web.Response":
        return web.Response(status=status, text=_error_page(status), content_type="text/html")

    container.extra["image_files"] = IMAGE_FILES

    def static(path: str, server: Server, location: Location) -> "web.StreamResponse":
        root = location.alias or location.root or server.root or _HTML
        wanted = location.file(path, server.root or _HTML)
        if "files" in container.extra and find_file(container, root.rstrip("/")) is None:
            return written(wanted, path, [*(location.index or server.index)])
        if path.endswith("/"):
            for index in location.index or server.index:
                if (found := find_file(container, wanted + index)) is not None and found.is_file():
                    return file(found)
            if path == "/" and root == _HTML and find_file(container, root) is None:
                return web.Response(text=WELCOME, content_type="text/html")
            folder = find_file(container, wanted.rstrip("/"))
            if folder is not None and (location.autoindex or server.base.autoindex):
                return web.Response(text=_listing(path, folder), content_type="text/html")
            return page(403 if folder is not None else 404)
        found = find_file(container, wanted)
        if found is None:
            if path == "/index.html" and root == _HTML and find_file(container, root) is None:
                return web.Response(text=WELCOME, content_type="text/html")
            return page(404)
        if found.is_dir():
            return web.Response(status=301, headers={"Location": f"{path}/"}, text=_error_page(301))
        return file(found)

    def exists(path: str, server: Server, location: Location) -> bool:
        """Tell whether try_files stops here: a file, or with a slash at its end a folder."""
        wanted = location.file(path.rstrip("/"), server.root or _HTML)
        if (found := find_file(container, wanted)) is not None:
            return found.is_dir() if path.endswith("/") else found.is_file()
        if "files" not in container.extra:
            return wanted in container.extra["image_files"] or (path == "/" and wanted == _HTML)
        try:
            entry = container.extra["files"].stat(os.path.normpath(wanted))
        except OSError:
            return False
        return bool(entry.is_dir if path.endswith("/") else entry.is_file)

    def written(wanted: str, path: str, index: list[str]) -> "web.StreamResponse":
        """Answer from what exec sessions made of the image's files."""
        tree = container.extra["files"]
        for name in [wanted + one for one in index] if path.endswith("/") else [wanted]:
            try:
                body = tree.read(os.path.normpath(name))
            except IsADirectoryError:
                return web.Response(status=301, headers={"Location": f"{path}/"}, text=_error_page(301))
            except OSError:
                continue
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            return web.Response(body=body, content_type=kind, headers={"Accept-Ranges": "bytes"})
        return page(403 if path.endswith("/") else 404)

    def file(found: Path) -> "web.StreamResponse":
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return web.Response(body=found.read_bytes(), content_type=kind, headers={"Accept-Ranges": "bytes"})

    def answerer(port: int) -> HTTPServer:
        async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
            nonlocal counted
            counted += 1
            server = choose([s for s in servers if port in s.ports], request.host)
            variables = _variables(request, "https" if port in server.tls_ports else "http")
            location, response = await resolve(request, server, request.path, variables, 0)
            pages = {**server.base.error_pages, **location.error_pages}
            if response.status in pages and not location.proxy_pass:
                instead, uri = pages[response.status]
                status = response.status if instead is None else instead
                shown, response = await resolve(request, server, uri, variables, 1)
                if response.status == 200:
                    response.set_status(status)
                location = shown
            for name, value in (*server.headers, *location.headers):
                response.headers[name] = interpolate(value, variables)
            response.headers["Server"] = SERVER
            log(request, response.status, getattr(response, "content_length", 0) or 0)
            return response

        async def resolve(
            request: "web.BaseRequest", server: Server, uri: str, variables: dict[str, str], depth: int
        ) -> "tuple[Location, web.StreamResponse]":
            """Answer a URI; try_files and error_page come back with another one."""
            routed = server.route(uri)
            location, uri = routed.location, routed.uri
            variables["uri"] = uri
            if routed.answer is not None:
                return location, said(routed.answer, server, location, variables)
            for name in location.try_files or server.base.try_files:
                tried = interpolate(name, variables)
                last = name == (location.try_files or server.base.try_files)[-1]
                if not last and exists(tried, server, location):
                    uri = tried
                    break
                if last and tried.startswith("="):
                    return location, page(int(tried[1:]) if tried[1:].isdigit() else 500)
                if last and (named := server.named(tried)) is not None:
                    location = named
                elif last and depth < 10:
                    return await resolve(request, server, tried.partition("?")[0], variables, depth + 1)
            if location.returned:
                return location, said(location.returned, server, location, variables)
            if location.stub_status:
                return location, web.Response(text=_STATUS.format(counted))
            if location.proxy_pass:
                return location, await proxy(request, location, variables, uri)
            if request.method not in ("GET", "HEAD"):
                return location, page(405)
            return location, static(uri, server, location)

        return HTTPServer(answer)

    def said(answer: tuple[int, str], server: Server, location: Location, variables: dict[str, str]) -> "web.Response":
        """Answer as `return` says."""
        status, text = answer[0], interpolate(answer[1], variables)
        if status in (301, 302, 303, 307, 308):
            return web.Response(status=status, headers={"Location": text}, text=_error_page(status))
        if not text and status >= 400:
            return page(status)
        kind = location.default_type or server.default_type or "application/octet-stream"
        return web.Response(status=status, body=text.encode(), content_type=kind)

    async def proxy(
        request: "web.BaseRequest", location: Location, variables: dict[str, str], uri: str
    ) -> "web.StreamResponse":
        from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector, ThreadedResolver

        raw = request.path_qs if uri == request.path else f"{uri}?{variables['args']}".rstrip("?")
        target = location.target(raw, variables)
        named = target.partition("://")[2].partition("/")[0]
        if named in rounds:
            target = target.replace(f"://{named}", f"://{next(rounds[named])}", 1)
        hop = {"host", "connection", "keep-alive", "transfer-encoding", "upgrade", "te", "content-length"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hop}
        for name, value in location.proxy_headers:
            headers[name] = interpolate(value, variables)
        headers.setdefault("Host", named)
        try:
            connector = TCPConnector(resolver=ThreadedResolver(), force_close=True)
            async with (
                ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as session,
                session.request(
                    request.method, target, headers=headers, data=await request.read(), allow_redirects=False
                ) as upstream,
            ):
                response = web.Response(status=upstream.status, body=await upstream.read())
                response.headers.popall("Content-Type", None)
                for name, value in upstream.headers.items():
                    if name.lower() not in hop:
                        response.headers.add(name, value)
                return response
        except (ClientError, OSError, TimeoutError) as error:
            container.print(f'[error] connect() failed ({error}) while connecting to upstream: "{target}"')
            return page(502)

    try:
        contexts = {port: _tls(container, server) for server in servers for port in server.tls_ports}
    except ValueError as error:
        container.print(f"nginx: [emerg] {error}")
        return 1
    https: list[HTTPServer] = []
    try:
        for port in sorted({port for server in servers for port in server.ports}):
            https.append(answerer(port))
            await https[-1].listen(port, context=contexts.get(port))
        container.started()
        await container.terminated.wait()
    finally:
        await asyncio.gather(*(server.close() for server in https))
    return 0


def _scripted(container: Container) -> dict[str, str]:
    """Return the configuration that the container's own script wrote before it called nginx, outside of volumes."""
    tree = container.extra.get("files")
    if tree is None:
        return {}
    found = {}
    for path in ("/etc/nginx/nginx.conf", *(f"/etc/nginx/conf.d/{name}" for name in tree.list("/etc/nginx/conf.d"))):
        if not path.endswith(".conf") or find_file(container, path) is not None:
            continue
        data = tree.read(path)
        if data != _CONFIGURATION.get(path):
            found[path] = data.decode("utf-8", "replace")
    return found


def _is_conf(mount: str, path: Path) -> bool:
    return path.name.endswith((".conf", ".conf.template")) or mount.endswith((".conf", "conf.d", "sites-enabled"))


_STATUS = "Active connections: 1 \nserver accepts handled requests\n {0} {0} {0} \nReading: 0 Writing: 1 Waiting: 0 \n"


def _listing(path: str, folder: Path) -> str:
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir() if one.name[0] != ".")
    rows = "".join(f'<a href="{quote(name)}">{escape(name)}</a>\r\n' for name in names)
    title = f"Index of {escape(path)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<h1>{title}</h1><hr><pre>"
        f'<a href="../">../</a>\r\n{rows}</pre><hr></body>\r\n</html>\r\n'
    )


def _tls(container: Container, server: Server) -> "ssl.SSLContext":
    """Return the context of a server's certificate; ValueError in nginx's words."""
    import ssl

    files = []
    for name in server.certificate:
        found = find_file(container, name)
        if found is None:
            raise ValueError(f'cannot load certificate "{name}": BIO_new_file() failed (No such file or directory)')
        files.append(found)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files[0], files[1])
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f'cannot load certificate "{server.certificate[0]}": {error}') from None
    return context


def _variables(request: "web.BaseRequest", scheme: str) -> dict[str, str]:
    return {
        "host": request.host.partition(":")[0],
        "http_host": request.host,
        "request_uri": request.path_qs,
        "uri": request.path,
        "args": request.rel_url.raw_query_string,
        "scheme": scheme,
        "remote_addr": request.remote or "",
        "proxy_add_x_forwarded_for": ", ".join(filter(None, (request.headers.get("X-Forwarded-For"), request.remote))),
        "request_method": request.method,
        "hostname": request.host,
        "is_args": "?" if request.rel_url.raw_query_string else "",
        "query_string": request.rel_url.raw_query_string,
        "server_name": request.host.partition(":")[0],
        "time_iso8601": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "http_upgrade": request.headers.get("Upgrade", ""),
        "http_user_agent": request.headers.get("User-Agent", ""),
        "server_addr": (request.transport.get_extra_info("sockname") or ("",))[0] if request.transport else "",
    }
