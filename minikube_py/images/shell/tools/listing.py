"""ls, stat, du, df: what is told of the container's files.

Leaves out: owners (everything is root's), inodes; df knows one disk of the size that a container may fill.
"""

import re
import stat as modes
import time

from minikube_py.images.shell.files import Entry
from minikube_py.images.shell.process import Process, Tool
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS", "human_size"]


def human_size(size: int) -> str:
    value = float(size)
    for unit in ("", "K", "M", "G"):
        if value < 1024 or unit == "G":
            return f"{size}" if not unit else f"{value:.1f}{unit}"
        value /= 1024
    return str(size)


def _long(entry: Entry, name: str, *, human: bool) -> str:
    when = time.strftime("%b %e %H:%M", time.gmtime(entry.modified))
    size = human_size(entry.size) if human else str(entry.size)
    arrow = f" -> {entry.target}" if entry.target else ""
    links = 2 if entry.is_dir else 1
    return f"{modes.filemode(entry.mode)} {links:4d} root     root     {size:>9} {when} {name}{arrow}"


async def _ls(p: Process) -> int:
    options = read_options(p.args, "laA1dhRtrSiFnopsgk", {"all": "a", "color=": "c", "full-time": "l"})
    status = 0
    files: list[tuple[str, Entry]] = []
    folders: list[str] = []
    for name in options.rest or ["."]:
        try:
            entry = p.view.stat(name, follow="l" not in options or name.endswith("/"))
        except OSError as error:
            await p.err(f"ls: {name}: {error.strerror}\n")
            status = 1
            continue
        if entry.is_dir and "d" not in options:
            folders.append(name)
        else:
            files.append((name, entry))
    if files:
        await _show(p, files, options.values)
    several = len(folders) + bool(files) > 1 or "R" in options
    first = not files
    while folders:
        folder = folders.pop(0)
        if several:
            await p.out(f"{'' if first else chr(10)}{folder}:\n")
        first = False
        names = [name for name in p.view.list(folder) if "a" in options or "A" in options or not name.startswith(".")]
        if "a" in options:
            names = [".", "..", *names]
        found = []
        for name in names:
            if (item := p.view.find(f"{folder.rstrip('/')}/{name}", follow=False)) is not None:
                found.append((name, item))
        if "R" in options:
            base = folder.rstrip("/")
            folders[:0] = [f"{base}/{n}" for n, item in found if item.is_dir and n not in (".", "..")]
        if "l" in options:
            await p.out(f"total {sum(-(-item.size // 1024) for _, item in found)}\n")
        await _show(p, found, options.values)
    return status


async def _show(p: Process, found: list[tuple[str, Entry]], options: dict[str, list[str]]) -> None:
    if "t" in options:
        found = sorted(found, key=lambda pair: -pair[1].modified)
    elif "S" in options:
        found = sorted(found, key=lambda pair: -pair[1].size)
    if "r" in options:
        found = found[::-1]
    mark = "F" in options or "p" in options
    names = [name + ("/" if mark and entry.is_dir else "") for name, entry in found]
    if "l" in options or "n" in options:
        for name, (_, entry) in zip(names, found, strict=True):
            await p.out(_long(entry, name, human="h" in options) + "\n")
    elif p.tty and "1" not in options and names:
        width = max(map(len, names)) + 2
        columns = max(80 // width, 1)
        for at in range(0, len(names), columns):
            await p.out("".join(name.ljust(width) for name in names[at : at + columns]).rstrip() + "\n")
    else:
        for name in names:
            await p.out(f"{name}\n")


async def _stat(p: Process) -> int:
    options = read_options(p.args, "c:Lft", {"format=": "c"})
    status = 0
    for name in options.rest:
        try:
            entry = p.view.stat(name, follow="L" in options)
        except OSError as error:
            status = await p.fail(f"can't stat '{name}': {error.strerror}")
            continue
        kind = {modes.S_IFDIR: "directory", modes.S_IFLNK: "symbolic link", modes.S_IFCHR: "character special file"}
        words = {
            "n": name,
            "N": f"'{name}'",
            "s": str(entry.size),
            "a": f"{entry.mode & 0o7777:o}",
            "A": modes.filemode(entry.mode),
            "F": kind.get(modes.S_IFMT(entry.mode), "regular file"),
            "Y": str(int(entry.modified)),
            "y": time.strftime("%Y-%m-%d %H:%M:%S.000000000 +0000", time.gmtime(entry.modified)),
            "U": "root",
            "G": "root",
            "u": "0",
            "g": "0",
        }
        if "c" in options:
            await p.out(re.sub(r"%(.)", lambda m: words.get(m[1], m[0]), options.get("c")) + "\n")  # noqa: B023
            continue
        await p.out(f"  File: {name}\n  Size: {entry.size}\tBlocks: {-(-entry.size // 512)}\t{words['F']}\n")
        await p.out(
            f"Access: ({entry.mode & 0o7777:04o}/{words['A']})  Uid: (    0/    root)   Gid: (    0/    root)\n"
        )
        await p.out(f"Modify: {words['y']}\n")
    return status


async def _du(p: Process) -> int:
    options = read_options(p.args, "shakcmd:", {"summarize": "s"})

    def total(path: str) -> int:
        return sum(found.size for one in p.view.walk(path) if (found := p.view.find(one, follow=False)) is not None)

    for name in options.rest or ["."]:
        paths = [name] if "s" in options else [o for o in p.view.walk(name) if p.view.is_dir(o) or "a" in options][::-1]
        for path in paths:
            size = total(path)
            shown = human_size(size) if "h" in options else str(-(-size // 1024))
            await p.out(f"{shown}\t{path}\n")
    return 0


async def _df(p: Process) -> int:
    human = any("h" in arg for arg in p.args if arg.startswith("-"))
    await p.out(f"Filesystem           {'Size' if human else '1K-blocks':>9} {'Used':>9} Available Use% Mounted on\n")
    total = 256 << 20
    rows = [("overlay", p.view.files.used, "/")]
    rows += [("tmpfs", 0, point) for point in p.container.files]
    for device, used, point in rows:
        cells = [human_size(n) if human else str(n >> 10) for n in (total, used, total - used)]
        share = f"{100 * used // total}%"
        await p.out(f"{device:<20} {cells[0]:>9} {cells[1]:>9} {cells[2]:>9} {share:>4} {point}\n")
    return 0


TOOLS: dict[str, Tool] = {
    "ls": _ls,
    "stat": _stat,
    "du": _du,
    "df": _df,
}
