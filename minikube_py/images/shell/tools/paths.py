"""readlink, realpath, mktemp, which: names of files."""

import re
import uuid

from minikube_py.images.shell.process import Process, Tool
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _readlink(p: Process) -> int:
    options = read_options(p.args, "fnm")
    for name in options.rest:
        if p.name == "realpath" or "f" in options:
            await p.out(p.view.files.follow(p.view.path(name)) + "\n")
            continue
        entry = p.view.find(name, follow=False)
        if entry is None or not entry.is_link:
            return 1
        await p.out(f"{entry.target}\n")
    return 0


async def _mktemp(p: Process) -> int:
    options = read_options(p.args, "dp:tqu")
    template = options.rest[0] if options.rest else "tmp.XXXXXX"
    made = re.sub(r"X{3,}$", lambda m: uuid.uuid4().hex[: len(m[0])], template)
    if "/" not in made:
        made = f"{options.get('p') or p.env.get('TMPDIR', '/tmp')}/{made}"
    if "d" in options:
        p.view.mkdir(made)
    else:
        p.view.write(made, b"")
    await p.out(f"{made}\n")
    return 0


async def _which(p: Process) -> int:
    from minikube_py.images.shell import tools

    status = 0
    for name in [arg for arg in p.args if not arg.startswith("-")]:
        path = p.shell.lookup(name)
        if path is None and p.shell.find(name) is not None:
            path = name if "/" in name else tools.path(name)
        if path is None:
            status = 1
        else:
            await p.out(f"{path}\n")
    return status


TOOLS: dict[str, Tool] = {
    "readlink": _readlink,
    "realpath": _readlink,
    "mktemp": _mktemp,
    "which": _which,
}
