"""The server of a stand-in, called by name from a script: `sh -c "cp … && exec nginx -g 'daemon off;'"`.

Only containers of the stand-in's own image have it, and only their main process serves: an exec may ask for the
version or have the configuration judged. `docker-entrypoint.sh PROGRAM …` runs the program.
Leaves out: `nginx -s reload` (configuration is read at the start), daemons that go into the background.
"""

import importlib
from dataclasses import replace

from minikube_py.images.catalog import stand_in
from minikube_py.images.container import Container
from minikube_py.images.exec import SERVER
from minikube_py.images.shell.process import Process, Tool

__all__ = ["ENTRYPOINTS", "SERVERS", "TOOLS", "has"]

SERVERS = {
    "apachectl": "httpd",
    "httpd": "httpd",
    "httpd-foreground": "httpd",
    "mariadbd": "mysql",
    "mongod": "mongo",
    "mysqld": "mysql",
    "mysqld_safe": "mysql",
    "nginx": "nginx",
    "postgres": "postgres",
    "rabbitmq-server": "rabbitmq",
    "redis-sentinel": "redis",
    "redis-server": "redis",
}
"""Program → the stand-in that is it."""

ENTRYPOINTS = ("docker-entrypoint.sh", "entrypoint.sh")


def has(container: Container, name: str) -> bool:
    """Tell whether a container's image has such a program."""
    module = stand_in(container.image)
    if module == "toolbox":
        return name == "httpd"  # busybox's own
    return module is not None and (name in ENTRYPOINTS or SERVERS.get(name) == module)


async def _server(p: Process) -> int:
    if p.name == "httpd" and stand_in(p.container.image) == "toolbox":
        from minikube_py.images.shell.tools.httpd import httpd

        return await httpd(p)
    if p.name == "nginx" and "-t" in p.args:
        await p.err("nginx: configuration file /etc/nginx/nginx.conf test is successful\n")
        return 0
    if {"-v", "-V", "--version"} & set(p.args):
        await p.err(f"{p.name} (minikube-py's stand-in)\n")
        return 0
    if "-s" in p.args and p.name == "nginx":
        return await p.fail("[emerg] this stand-in reads its configuration at the start; delete the pod instead")
    if not p.shell.main_session:
        return await p.fail("it runs already, as the container's main process; this stand-in has no second one")
    p.container.extra[SERVER] = True
    module = importlib.import_module(f"minikube_py.images.{SERVERS[p.name]}")
    inner = replace(p.container, command=(p.name, *p.args), args=(), working_dir=p.view.cwd)
    return await module.main(inner) or 0


async def _entrypoint(p: Process) -> int:
    return await p.call(p.args) if p.args else await p.fail("no program given")


TOOLS: dict[str, Tool] = {
    **dict.fromkeys(SERVERS, _server),
    **dict.fromkeys(ENTRYPOINTS, _entrypoint),
}
