"""ls, cp, mv, rm, find, stat, du, df and others over the container's files."""

import posixpath
import re
import stat as modes
import time
import uuid
from collections.abc import Sequence

from minikube_py.images.shell.files import Entry
from minikube_py.images.shell.patterns import matches
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


def _human(size: int) -> str:
    value = float(size)
    for unit in ("", "K", "M", "G"):
        if value < 1024 or unit == "G":
            return f"{size}" if not unit else f"{value:.1f}{unit}"
        value /= 1024
    return str(size)


def _long(entry: Entry, name: str, *, human: bool) -> str:
    when = time.strftime("%b %e %H:%M", time.gmtime(entry.modified))
    size = _human(entry.size) if human else str(entry.size)
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


def _into(p: Process, source: str, target: str) -> str:
    return f"{target.rstrip('/')}/{posixpath.basename(source.rstrip('/'))}" if p.view.is_dir(target) else target


async def _cp(p: Process) -> int:
    options = read_options(p.args, "rRafpvdnuLPt:T", {"recursive": "r", "archive": "a"})
    *sources, target = options.rest if len(options.rest) > 1 else [*options.rest, ""]
    if not sources or not target:
        raise UsageError("missing file operand")
    if len(sources) > 1 and not p.view.is_dir(target):
        raise UsageError(f"target '{target}' is not a directory")
    status = 0
    for source in sources:
        try:
            entry = p.view.stat(source)
        except OSError as error:
            status = await p.fail(f"can't stat '{source}': {error.strerror}")
            continue
        place = target if "T" in options else _into(p, source, target)
        if entry.is_dir and not {"r", "R", "a"} & options.values.keys():
            status = await p.fail(f"omitting directory '{source}'")
            continue
        try:
            _copy(p, source, place)
        except OSError as error:
            status = await p.fail(f"can't create '{place}': {error.strerror}")
    return status


def _copy(p: Process, source: str, target: str) -> None:
    """Copy a file or a whole folder."""
    if p.view.path(target).startswith(p.view.path(source).rstrip("/") + "/"):
        raise OSError(22, "Invalid argument")
    for path in list(p.view.walk(source)):
        entry = p.view.stat(path, follow=False)
        place = target + path[len(source) :]
        if entry.is_link and path != source:
            p.view.symlink(entry.target, place)
        elif p.view.is_dir(path):
            if not p.view.is_dir(place):
                p.view.mkdir(place)
        else:
            p.view.write(place, p.view.read(path))
            p.view.chmod(place, p.view.stat(path).mode & 0o777)


def _remove_all(p: Process, name: str) -> None:
    for path in reversed(list(p.view.walk(name))):
        p.view.remove(path)


async def _mv(p: Process) -> int:
    options = read_options(p.args, "fnvT")
    *sources, target = options.rest if len(options.rest) > 1 else [*options.rest, ""]
    if not sources or not target:
        raise UsageError("missing file operand")
    status = 0
    for source in sources:
        try:
            p.view.stat(source, follow=False)
            place = _into(p, source, target)
            try:
                p.view.rename(source, place)
            except OSError as error:
                if error.errno != 18:
                    raise
                _copy(p, source, place)
                _remove_all(p, source)
        except OSError as error:
            status = await p.fail(f"can't rename '{source}': {error.strerror}")
    return status


async def _rm(p: Process) -> int:
    options = read_options(p.args, "rRfiv", {"recursive": "r", "force": "f"})
    status = 0
    for name in options.rest:
        try:
            entry = p.view.stat(name, follow=False)
            if entry.is_dir and not {"r", "R"} & options.values.keys():
                status = await p.fail(f"'{name}' is a directory")
                continue
            _remove_all(p, name) if entry.is_dir else p.view.remove(name)
        except FileNotFoundError as error:
            if "f" not in options:
                status = await p.fail(f"can't remove '{name}': {error.strerror}")
        except OSError as error:
            status = await p.fail(f"can't remove '{name}': {error.strerror}")
    return status


async def _mkdir(p: Process) -> int:
    options = read_options(p.args, "pm:v", {"parents": "p", "mode=": "m"})
    if not options.rest:
        raise UsageError("missing operand")
    status = 0
    for name in options.rest:
        path = p.view.path(name)
        parts = path.strip("/").split("/")
        try:
            if "p" not in options:
                p.view.mkdir(path)
                continue
            for depth in range(1, len(parts) + 1):
                step = "/" + "/".join(parts[:depth])
                found = p.view.find(step)
                if found is None:
                    p.view.mkdir(step)
                elif not found.is_dir:
                    raise OSError(17, "File exists")
        except OSError as error:
            status = await p.fail(f"can't create directory '{name}': {error.strerror}")
    return status


async def _rmdir(p: Process) -> int:
    status = 0
    for name in read_options(p.args, "p").rest:
        try:
            if not p.view.stat(name, follow=False).is_dir:
                raise OSError(20, "Not a directory")
            p.view.remove(name)
        except OSError as error:
            status = await p.fail(f"'{name}': {error.strerror}")
    return status


async def _touch(p: Process) -> int:
    options = read_options(p.args, "acmd:r:t:")
    if not options.rest:
        raise UsageError("missing file operand")
    status = 0
    for name in options.rest:
        try:
            if "c" not in options or p.view.exists(name):
                p.view.touch(name)
        except OSError as error:
            status = await p.fail(f"{name}: {error.strerror}")
    return status


def _mode(text: str, mode: int) -> int:
    if re.fullmatch(r"[0-7]{1,4}", text):
        return int(text, 8)
    for part in text.split(","):
        match = re.fullmatch(r"([ugoa]*)([-+=])([rwxXst]*)", part)
        if match is None:
            raise UsageError(f"invalid mode '{text}'")
        who = match[1].replace("a", "ugo") or "ugo"
        bits = sum({"r": 4, "w": 2, "x": 1, "X": 1}.get(letter, 0) for letter in set(match[3]))
        mask = sum(bits << {"u": 6, "g": 3, "o": 0}[one] for one in set(who))
        whole = sum(7 << {"u": 6, "g": 3, "o": 0}[one] for one in set(who))
        mode = mode | mask if match[2] == "+" else mode & ~mask if match[2] == "-" else (mode & ~whole) | mask
    return mode & 0o7777


async def _chmod(p: Process) -> int:
    args = [arg for arg in p.args if arg not in ("-R", "-f", "-v")]
    if len(args) < 2:
        raise UsageError("missing operand")
    status = 0
    for name in args[1:]:
        try:
            for path in p.view.walk(name) if "-R" in p.args else (name,):
                p.view.chmod(path, _mode(args[0], p.view.stat(path).mode & 0o7777))
        except OSError as error:
            status = await p.fail(f"{name}: {error.strerror}")
    return status


async def _chown(p: Process) -> int:
    """Owners don't exist here: only check that the files do."""
    status = 0
    for name in [arg for arg in p.args if not arg.startswith("-")][1:]:
        if not p.view.exists(name):
            status = await p.fail(f"{name}: No such file or directory")
    return status


async def _ln(p: Process) -> int:
    options = read_options(p.args, "sfnvT", {"symbolic": "s", "force": "f"})
    *sources, target = options.rest if len(options.rest) > 1 else [*options.rest, "."]
    status = 0
    for source in sources:
        place = _into(p, source, target)
        try:
            if "f" in options and p.view.find(place, follow=False) is not None:
                p.view.remove(place)
            if "s" in options:
                p.view.symlink(source, place)
            else:
                p.view.link(source, place)
        except OSError as error:
            status = await p.fail(f"{place}: {error.strerror}")
    return status


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


async def _du(p: Process) -> int:
    options = read_options(p.args, "shakcmd:", {"summarize": "s"})

    def total(path: str) -> int:
        return sum(found.size for one in p.view.walk(path) if (found := p.view.find(one, follow=False)) is not None)

    for name in options.rest or ["."]:
        paths = [name] if "s" in options else [o for o in p.view.walk(name) if p.view.is_dir(o) or "a" in options][::-1]
        for path in paths:
            size = total(path)
            shown = _human(size) if "h" in options else str(-(-size // 1024))
            await p.out(f"{shown}\t{path}\n")
    return 0


async def _df(p: Process) -> int:
    human = any("h" in arg for arg in p.args if arg.startswith("-"))
    await p.out(f"Filesystem           {'Size' if human else '1K-blocks':>9} {'Used':>9} Available Use% Mounted on\n")
    total = 256 << 20
    rows = [("overlay", p.view.files.used, "/")]
    rows += [("tmpfs", 0, point) for point in p.container.files]
    for device, used, point in rows:
        cells = [_human(n) if human else str(n >> 10) for n in (total, used, total - used)]
        share = f"{100 * used // total}%"
        await p.out(f"{device:<20} {cells[0]:>9} {cells[1]:>9} {cells[2]:>9} {share:>4} {point}\n")
    return 0


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


async def _dd(p: Process) -> int:
    values = dict(arg.partition("=")[::2] for arg in p.args)
    units = {"k": 1024, "K": 1024, "M": 1 << 20, "m": 1 << 20, "G": 1 << 30}
    text = values.get("bs", "512")
    size = int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
    source = p.source(values.get("if", "-"))
    sink = p.view.sink(values["of"]) if "of" in values else p.stdout
    count = int(values["count"]) if "count" in values else None
    blocks = total = 0
    started = time.monotonic()
    while count is None or blocks < count:
        data = b""
        while len(data) < size and (more := await source.read(size - len(data))):
            data += more
        if not data:
            break
        await sink.write(data)
        blocks += 1
        total += len(data)
    seconds = max(time.monotonic() - started, 1e-6)
    if values.get("status") != "none":
        await p.err(f"{blocks}+0 records in\n{blocks}+0 records out\n")
        await p.err(
            f"{total} bytes ({_human(total)}B) copied, {seconds:.6f} seconds, {_human(int(total / seconds))}B/s\n"
        )
    return 0


TOOLS: dict[str, Tool] = {
    "ls": _ls,
    "cp": _cp,
    "mv": _mv,
    "rm": _rm,
    "mkdir": _mkdir,
    "rmdir": _rmdir,
    "touch": _touch,
    "chmod": _chmod,
    "chown": _chown,
    "ln": _ln,
    "stat": _stat,
    "find": _find,
    "du": _du,
    "df": _df,
    "readlink": _readlink,
    "realpath": _readlink,
    "mktemp": _mktemp,
    "which": _which,
    "dd": _dd,
}
