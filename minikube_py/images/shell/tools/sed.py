"""sed: -n -e -f -E -r -i over files and stdin; the language is `sed_script`."""

import re

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.lines import each_source, lines
from minikube_py.images.shell.tools.options import read_options
from minikube_py.images.shell.tools.sed_script import edit, parse

__all__ = ["TOOLS"]


async def _sed(p: Process) -> int:
    long = {"expression=": "e", "quiet": "n", "silent": "n", "in-place": "i", "regexp-extended": "E", "file=": "f"}
    args = ["-i" if re.fullmatch(r"-i\.?\w+", arg) and not set(arg[2:]) <= set("nEre") else arg for arg in p.args]
    options = read_options(args, "ne:Erif:s", long)
    scripts = options.all("e") + [p.view.read(name).decode() for name in options.all("f")]
    rest = options.rest
    if not scripts:
        if not rest:
            raise UsageError("usage: sed [-i] [-nrE] [-e CMD]... [FILE]...")
        scripts, rest = [rest[0]], rest[1:]
    text = "\n".join(scripts)
    extended = "E" in options or "r" in options
    status: list[int] = []
    if "i" in options:
        async for name, source in each_source(p, rest, status):
            found = [line async for line in lines(source)]
            result = edit(found, parse(text, extended=extended), silent="n" in options)
            p.view.write(name, "".join(result).encode("utf-8", "surrogateescape"))
        return max(status, default=0)
    found = []
    async for _, source in each_source(p, rest, status):
        async for line in lines(source):
            found.append(line)
    for piece in edit(found, parse(text, extended=extended), silent="n" in options):
        await p.out(piece)
    return max(status, default=0)


TOOLS: dict[str, Tool] = {
    "sed": _sed,
}
