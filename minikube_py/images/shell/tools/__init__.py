"""The tool box: one family of tools = one module with a table `TOOLS` of names and coroutines.

To add a tool, write `async def name(p: Process) -> int` in a module here and list its name below; the module is
imported when the tool is first called.
"""

import importlib
from functools import cache

from minikube_py.images.shell.process import Tool

__all__ = ["NAMES", "PER_IMAGE", "find", "path"]

MODULES = {
    "basics": "echo printf true false yes sleep seq test [ [[ basename dirname expr date clear usleep",
    "fileops": "cp mv rm install mkdir rmdir touch chmod chown ln dd",
    "listing": "ls stat du df",
    "paths": "readlink realpath mktemp which",
    "finding": "find",
    "text": "envsubst cat tac head tail wc tee nl rev split",
    "ordering": "sort uniq",
    "columns": "cut tr paste fold",
    "comparison": "cmp diff",
    "grep": "grep egrep fgrep",
    "sed": "sed",
    "awk": "awk",
    "processes": (
        "sh bash ash busybox env printenv xargs time timeout nohup nice ps pidof pgrep pkill kill killall id whoami "
        "uname hostname nproc uptime free top groups tty stty su arch sync"
    ),
    "archives": "tar gzip gunzip zcat base64 md5sum sha1sum sha256sum sha512sum hexdump od",
    "addresses": "ip ifconfig route arp netstat ss",
    "nslookup": "nslookup",
    "dig": "dig",
    "hosts": "host getent",
    "wget": "wget",
    "curl": "curl",
    "mysql": "mysql mysqladmin mariadb mariadb-admin xtrabackup xbstream",
    "nc": "nc netcat ncat telnet",
    "packages": "apk apt apt-get dnf microdnf sysctl yum",
    "ping": "ping traceroute",
    "podcli": "podcli",
    "brokers": "mongo mongosh rabbitmq-diagnostics rabbitmqctl",
    "databases": "redis-cli pg_isready",
}
_PER_IMAGE = {
    "agnhost": "agnhost",
    "servers": (
        "apachectl httpd httpd-foreground mariadbd mongod mysqld mysqld_safe nginx postgres rabbitmq-server "
        "redis-sentinel redis-server docker-entrypoint.sh entrypoint.sh"
    ),
}
"""What only some images have: `programs.find` knows which."""
PER_IMAGE = frozenset(name for names in _PER_IMAGE.values() for name in names.split())
NAMES = {name: module for module, names in MODULES.items() for name in names.split()}


@cache
def find(name: str) -> Tool | None:
    """Return a tool by its name."""
    module = NAMES.get(name) or next((one for one, names in _PER_IMAGE.items() if name in names.split()), None)
    if module is None:
        return None
    tool: Tool = importlib.import_module(f"{__name__}.{module}").TOOLS[name]
    return tool


def path(name: str) -> str:
    """Return where a tool would be in an image."""
    return f"/bin/{name}" if name in ("sh", "bash", "ash", "ls", "cat", "echo", "ps", "ping") else f"/usr/bin/{name}"
