"""cmp and diff.

Leaves out: folders (diff -r), and diff's formats other than the unified one.
"""

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _cmp(p: Process) -> int:
    options = read_options(p.args, "sl", code=2)
    if len(options.rest) < 2:
        raise UsageError("usage: cmp FILE1 FILE2", 2)
    one, two = [await p.source(name).rest() for name in options.rest[:2]]
    if one == two:
        return 0
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    if "s" not in options:
        if at is None:
            await p.err(f"cmp: EOF on {options.rest[0] if len(one) < len(two) else options.rest[1]}\n")
        else:
            row = one[:at].count(b"\n") + 1
            await p.out(f"{options.rest[0]} {options.rest[1]} differ: char {at + 1}, line {row}\n")
    return 1


async def _diff(p: Process) -> int:
    import difflib

    options = read_options(p.args, "uqrNbwi", code=2)
    if len(options.rest) < 2:
        raise UsageError("usage: diff FILE1 FILE2", 2)
    one, two = [
        (await p.source(name).rest()).decode("utf-8", "surrogateescape").splitlines() for name in options.rest[:2]
    ]
    if one == two:
        return 0
    if "q" in options:
        await p.out(f"Files {options.rest[0]} and {options.rest[1]} differ\n")
        return 1
    for line in difflib.unified_diff(one, two, options.rest[0], options.rest[1], lineterm=""):
        await p.out(f"{line}\n")
    return 1


TOOLS: dict[str, Tool] = {
    "cmp": _cmp,
    "diff": _diff,
}
