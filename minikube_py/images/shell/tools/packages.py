"""Package managers and sysctl: what scripts call before they begin, taken to have succeeded.

Nothing is downloaded: the tools that people install (curl, dig, nc, psql's pg_isready, …) are built in.
Leaves out: what a package would bring beside them; each installation says which of them are missing here.
"""

from minikube_py.images.shell.process import Process, Tool

__all__ = ["TOOLS"]

_INSTALL = {"add", "install", "reinstall", "localinstall", "groupinstall"}
_PROVIDES = {
    "bind-tools": "dig",
    "bind-utils": "dig",
    "ca-certificates": "sh",
    "coreutils": "cat",
    "dnsutils": "dig",
    "gettext": "envsubst",
    "gettext-base": "envsubst",
    "iproute2": "ip",
    "iputils": "ping",
    "iputils-ping": "ping",
    "mysql-client": "mysql",
    "mariadb-client": "mysql",
    "net-tools": "netstat",
    "netcat-openbsd": "nc",
    "netcat-traditional": "nc",
    "nmap-ncat": "nc",
    "postgresql-client": "pg_isready",
    "procps": "ps",
    "redis": "redis-cli",
    "redis-tools": "redis-cli",
    "tzdata": "sh",
}
"""Package → a tool of it."""


async def _manager(p: Process) -> int:
    words = [arg for arg in p.args if not arg.startswith("-")]
    verb, packages = (words[0], words[1:]) if words else ("", [])
    if verb not in _INSTALL:
        return 0
    for package in packages:
        name = package.partition("=")[0].partition("~")[0]
        built_in = p.shell.find(_PROVIDES.get(name, name)) is not None
        why = "it is built in" if built_in else "minikube-py downloads nothing, so its programs are not here"
        await p.out(f"{p.name}: {name}: {why}\n")
    return 0


async def _sysctl(p: Process) -> int:
    """Remember kernel parameters for this container; nobody's kernel learns of them."""
    known: dict[str, str] = p.container.extra.setdefault("sysctl", {})
    for arg in [arg for arg in p.args if not arg.startswith("-")]:
        name, given, value = arg.partition("=")
        name = name.strip().replace("/", ".")
        if given:
            known[name] = value.strip()
        elif name not in known:
            path = name.replace(".", "/")
            return await p.fail(f"error: '/proc/sys/{path}' is an unknown key", 255)
        if not {"-q", "-qw"} & set(p.args):
            await p.out(f"{known[name]}\n" if "-n" in p.args else f"{name} = {known[name]}\n")
    return 0


TOOLS: dict[str, Tool] = {
    **dict.fromkeys(("apk", "apt", "apt-get", "dnf", "microdnf", "yum"), _manager),
    "sysctl": _sysctl,
}
