"""awk: -F -v -f over files and stdin; the language is `awk_program`."""

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.basics import unescape
from minikube_py.images.shell.tools.lines import each_source, lines
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _awk(p: Process) -> int:
    from minikube_py.images.shell.tools.awk_program import Program

    options = read_options(p.args, "F:v:f:", stop=True)
    rest = options.rest
    if "f" in options:
        text = p.view.read(options.get("f")).decode()
    else:
        if not rest:
            raise UsageError("usage: awk [-F sep] [-v var=value] 'program' [file ...]", 2)
        text, rest = rest[0], rest[1:]
    program = Program(text)
    program.variables["FS"] = unescape(options.get("F", " "))[0]
    for pair in options.all("v"):
        name, _, value = pair.partition("=")
        program.variables[name] = unescape(value)[0]
    status: list[int] = []
    await p.out(program.begin())
    if program.reads and program.code is None:
        async for _, source in each_source(p, rest, status):
            async for line in lines(source):
                await p.out(program.line(line))
                if program.code is not None:
                    break
    await p.out(program.end())
    return program.code if program.code is not None else max(status, default=0)


TOOLS: dict[str, Tool] = {
    "awk": _awk,
}
