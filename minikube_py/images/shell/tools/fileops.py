"""cp, mv, rm, mkdir, rmdir, touch, chmod, chown, ln, dd: changes to the container's files.

Leaves out: owners (chown only checks that the files exist), cp -p's times.
"""

import posixpath
import re
import time

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.listing import human_size
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


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


async def _install(p: Process) -> int:
    """Copy files, or with -d make folders, with a mode; owners are nobody's concern here."""
    options = read_options(p.args, "dDm:o:g:vpct:", {"directory": "d", "mode=": "m", "owner=": "o", "group=": "g"})
    mode = options.get("m") or "755"
    if "d" in options:
        p.argv = ["mkdir", "-p", *options.rest]
        made, status = options.rest, await _mkdir(p)
    else:
        *sources, target = [*options.rest, options.get("t")] if "t" in options else options.rest or [""]
        if "D" in options and len(sources) == 1:
            p.argv = ["mkdir", "-p", target.rpartition("/")[0] or "/"]
            await _mkdir(p)
        made = [_into(p, source, target) for source in sources]
        p.argv = ["cp", *sources, target]
        status = await _cp(p)
    p.argv = ["chmod", mode, *made]
    return status or await _chmod(p)


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
        speed = human_size(int(total / seconds))
        await p.err(f"{total} bytes ({human_size(total)}B) copied, {seconds:.6f} seconds, {speed}B/s\n")
    return 0


TOOLS: dict[str, Tool] = {
    "cp": _cp,
    "mv": _mv,
    "rm": _rm,
    "install": _install,
    "mkdir": _mkdir,
    "rmdir": _rmdir,
    "touch": _touch,
    "chmod": _chmod,
    "chown": _chown,
    "ln": _ln,
    "dd": _dd,
}
