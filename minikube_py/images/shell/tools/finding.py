"""find: walks folders and judges each entry.

Leaves out: parentheses, -prune's effect, -exec … + in one call, -printf; what it doesn't know it refuses.
"""

import posixpath
import re
import time
from collections.abc import Sequence

from minikube_py.images.shell.files import Entry
from minikube_py.images.shell.patterns import matches
from minikube_py.images.shell.process import Process, Tool, UsageError

__all__ = ["TOOLS"]


async def _find(p: Process) -> int:
    args = list(p.args)
    places: list[str] = []
    while args and not args[0].startswith(("-", "(", "!")):
        places.append(args.pop(0))
    status = 0
    expression = _FindExpression(p, args)
    for place in places or ["."]:
        if p.view.find(place, follow=False) is None:
            status = await p.fail(f"{place}: No such file or directory")
            continue
        for path in list(p.view.walk(place)):
            depth = path[len(place) :].strip("/").count("/") + bool(path[len(place) :].strip("/"))
            entry = p.view.find(path, follow=False)
            if entry is not None and depth <= expression.deepest and depth >= expression.shallowest:
                await expression.visit(path, entry)
    return status or expression.status


def _compared(value: int, wanted: str) -> bool:
    """Judge find's `+n`, `-n` and `n`."""
    number = int(re.sub(r"\D", "", wanted) or 0)
    return value > number if wanted[0] == "+" else value < number if wanted[0] == "-" else value == number


class _FindExpression:
    """-name, -type, …, combined by and; -o, ! and the actions -print, -print0, -delete, -exec."""

    def __init__(self, p: Process, args: Sequence[str]) -> None:
        self._p = p
        self.deepest, self.shallowest, self.status = 10**6, 0, 0
        self._groups: list[list[tuple[bool, str, list[str]]]] = [[]]
        queue = list(args)
        negated = False
        while queue:
            word = queue.pop(0)
            if word in ("!", "-not"):
                negated = not negated
                continue
            if word in ("-o", "-or"):
                self._groups.append([])
                continue
            if word in ("-a", "-and", "(", ")"):
                continue
            values: list[str] = []
            if word in ("-exec", "-ok"):
                while queue and queue[0] not in (";", "+"):
                    values.append(queue.pop(0))
                queue = queue[1:]
            elif word not in ("-print", "-print0", "-delete", "-empty", "-prune", "-depth"):
                if not queue:
                    raise UsageError(f"{word}: requires an argument")
                values = [queue.pop(0)]
            if word == "-maxdepth":
                self.deepest = int(values[0])
            elif word == "-mindepth":
                self.shallowest = int(values[0])
            elif word in _FIND_WORDS:
                self._groups[-1].append((negated, word, values))
            else:
                raise UsageError(f"unrecognized: {word}")
            negated = False
        self._acts = any(word in _FIND_ACTIONS for group in self._groups for _, word, _ in group)

    async def visit(self, path: str, entry: Entry) -> None:
        for group in self._groups:
            if await self._whole(path, entry, group):
                return

    async def _whole(self, path: str, entry: Entry, group: list[tuple[bool, str, list[str]]]) -> bool:
        for negated, word, values in group:
            if await self._judge(path, entry, negated, word, values) is False:
                return False
        if not self._acts:
            await self._p.out(f"{path}\n")
        return True

    async def _judge(self, path: str, entry: Entry, negated: bool, word: str, values: list[str]) -> bool:
        p = self._p
        name = posixpath.basename(path.rstrip("/")) or path
        hit = True
        match word:
            case "-name":
                hit = matches([(values[0], False)], name)
            case "-iname":
                hit = matches([(values[0].lower(), False)], name.lower())
            case "-path":
                hit = matches([(values[0], False)], path)
            case "-type":
                hit = {"f": entry.is_file, "d": entry.is_dir, "l": entry.is_link}.get(values[0], False)
            case "-empty":
                hit = not p.view.list(path) if entry.is_dir else entry.size == 0
            case "-size":
                scale = {"c": 1, "k": 1024, "M": 1 << 20}.get(values[0][-1], 512)
                hit = _compared(-(-entry.size // scale), values[0])
            case "-newer":
                hit = entry.modified > p.view.stat(values[0]).modified
            case "-mmin" | "-mtime":
                age = (time.time() - entry.modified) / (60 if word == "-mmin" else 86400)
                number = int(values[0].lstrip("+-"))
                hit = (
                    age > number if values[0][0] == "+" else age < number if values[0][0] == "-" else int(age) == number
                )
            case "-print":
                await p.out(f"{path}\n")
            case "-print0":
                await p.out(f"{path}\0")
            case "-delete":
                p.view.remove(path)
            case "-exec" | "-ok":
                code = await p.call([value.replace("{}", path) for value in values])
                hit = code == 0
        return hit != negated


_FIND_ACTIONS = ("-print", "-print0", "-delete", "-exec", "-ok")


_FIND_WORDS = (
    *_FIND_ACTIONS,
    *("-name", "-iname", "-path", "-type", "-empty", "-size", "-newer", "-mmin", "-mtime", "-prune", "-depth"),
)


TOOLS: dict[str, Tool] = {
    "find": _find,
}
