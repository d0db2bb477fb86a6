"""tar (what kubectl cp needs and more), gzip, base64, checksums, hexdump."""

import base64
import binascii
import hashlib
import io
import posixpath
import tarfile
import zlib

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.options import Options, read_options

__all__ = ["TOOLS"]

_TAR_LONG = {
    "create": "c",
    "extract": "x",
    "list": "t",
    "file=": "f",
    "directory=": "C",
    "gzip": "z",
    "verbose": "v",
    "to-stdout": "O",
    "no-same-permissions": "P1",
    "no-same-owner": "o",
    "strip-components=": "strip",
    "exclude=": "X",
    "overwrite": "overwrite",
    "touch": "m",
    "warning=": "warning",
}


async def _tar(p: Process) -> int:
    args = p.args
    if args and not args[0].startswith("-"):
        args = [f"-{args[0]}", *args[1:]]
    options = read_options(args, "cxtf:C:zvOpmohjJkT:X:P", _TAR_LONG)
    if "C" in options:
        folder = options.get("C")
        if not p.view.is_dir(folder):
            return await p.fail(f"can't change directory to '{folder}': No such file or directory")
        p.view.cwd = p.view.path(folder)
    name = options.get("f", "-")
    if "c" in options:
        return await _create(p, options, name)
    data = await p.source(name).rest()
    try:
        archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:*")  # noqa: SIM115  # closed below
    except tarfile.TarError:
        if not data:
            return await p.fail("short read")
        return await p.fail("invalid tar magic")
    with archive:
        if "t" in options:
            for member in archive:
                mark = "/" if member.isdir() else ""
                line = f"{member.name}{mark}"
                if "v" in options:
                    import stat

                    kind = stat.S_IFDIR if member.isdir() else stat.S_IFREG
                    line = f"{stat.filemode(kind | member.mode)} root/root {member.size:9d} {line}"
                await p.out(f"{line}\n")
            return 0
        return await _extract(p, options, archive)


async def _create(p: Process, options: Options, name: str) -> int:
    buffer = io.BytesIO()
    status = 0
    if not options.rest:
        return await p.fail("empty archive")
    with tarfile.open(fileobj=buffer, mode="w:gz" if "z" in options else "w") as archive:
        for root in options.rest:
            if p.view.find(root, follow=False) is None:
                await p.err(f"tar: {root}: No such file or directory\n")
                status = 1
                continue
            for path in p.view.walk(root):
                entry = p.view.stat(path, follow=False)
                info = tarfile.TarInfo(path.lstrip("/") or ".")
                info.mode, info.mtime = entry.mode & 0o7777, int(entry.modified)
                info.uname = info.gname = "root"
                content = b""
                if entry.is_dir:
                    info.type = tarfile.DIRTYPE
                elif entry.is_link:
                    info.type, info.linkname = tarfile.SYMTYPE, entry.target
                else:
                    content = p.view.read(path)
                    info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                if "v" in options:
                    await p.err(f"{info.name}\n")
    data = buffer.getvalue()
    if name == "-":
        for at in range(0, len(data), 65536):
            await p.out(data[at : at + 65536])
    else:
        p.view.write(name, data)
    if status:
        await p.err("tar: error exit delayed from previous errors\n")
    return status


async def _extract(p: Process, options: Options, archive: tarfile.TarFile) -> int:
    wanted = options.rest
    strip = int(options.number("strip", 0))
    for member in archive:
        if wanted and not any(member.name == one or member.name.startswith(f"{one.rstrip('/')}/") for one in wanted):
            continue
        parts = posixpath.normpath(member.name.lstrip("/")).split("/")[strip:]
        if ".." in parts or not parts:
            continue  # names that lead out of the folder are left out, as tar does
        name = "/".join(parts)
        if "O" in options:
            found = archive.extractfile(member)
            await p.out(found.read() if found is not None else b"")
            continue
        if "v" in options:
            await p.out(f"{name}\n")
        try:
            _place(p, archive, member, name)
        except OSError as error:
            return await p.fail(f"can't open '{name}': {error.strerror}")
    return 0


def _place(p: Process, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
    steps = name.split("/")
    for depth in range(1, len(steps)):
        folder = "/".join(steps[:depth])
        if not p.view.exists(folder):
            p.view.mkdir(folder)
    if member.isdir():
        if not p.view.exists(name):
            p.view.mkdir(name)
    elif member.issym():
        if p.view.find(name, follow=False) is not None:
            p.view.remove(name)
        p.view.symlink(member.linkname, name)
    elif member.isfile():
        found = archive.extractfile(member)
        p.view.write(name, found.read() if found is not None else b"")
        p.view.chmod(name, member.mode & 0o7777)
        p.view.touch(name, member.mtime)


async def _gzip(p: Process) -> int:
    options = read_options(p.args, "dcfkq123456789t")
    unpack = "d" in options or p.name in ("gunzip", "zcat")
    to_stdout = "c" in options or p.name == "zcat" or not options.rest
    for name in options.rest or ["-"]:
        data = await p.source(name).rest()
        try:
            made = zlib.decompress(data, 31) if unpack else zlib.compress(data, wbits=31)
        except zlib.error:
            return await p.fail("invalid magic" if data[:2] != b"\x1f\x8b" else "corrupted data")
        if to_stdout:
            await p.out(made)
            continue
        p.view.write(name.removesuffix(".gz") if unpack else f"{name}.gz", made)
        if "k" not in options:
            p.view.remove(name)
    return 0


async def _base64(p: Process) -> int:
    options = read_options(p.args, "dw:D", {"decode": "d", "wrap=": "w"})
    data = await p.source(options.rest[0] if options.rest else "-").rest()
    if "d" in options or "D" in options:
        try:
            await p.out(base64.b64decode(b"".join(data.split()), validate=True))
        except binascii.Error:
            return await p.fail("truncated input")
        return 0
    text = base64.b64encode(data).decode()
    width = int(options.number("w", 76))
    rows = [text[at : at + width] for at in range(0, len(text), width)] if width else [text]
    await p.out("\n".join(rows) + ("\n" if width else ""))
    return 0


async def _sum(p: Process) -> int:
    options = read_options(p.args, "cbstw", {"check": "c"})
    algorithm = p.name.removesuffix("sum")
    status = 0
    if "c" in options:
        for line in (await p.source(options.rest[0] if options.rest else "-").rest()).decode().splitlines():
            digest, _, name = line.partition("  ")
            good = hashlib.new(algorithm, p.view.read(name)).hexdigest() == digest
            await p.out(f"{name}: {'OK' if good else 'FAILED'}\n")
            status |= not good
        return int(status)
    for name in options.rest or ["-"]:
        try:
            data = await p.source(name).rest()
        except OSError as error:
            status = await p.fail(f"can't open '{name}': {error.strerror}")
            continue
        await p.out(f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n")
    return status


async def _hexdump(p: Process) -> int:
    """hexdump [-C], and od with -c or -t x1; two-byte words otherwise."""
    options = read_options(p.args, "Cn:vt:A:xcb")
    data = await p.source(options.rest[0] if options.rest else "-").rest()
    data = data[: int(options.number("n", len(data)))]
    if p.name == "od" and options.get("t", "x1") not in ("x1", "x2", "c"):
        raise UsageError(f"type {options.get('t')} is not supported")
    octal = p.name == "od" and options.get("A", "o") == "o"
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if "C" in options:
            left, right = " ".join(f"{b:02x}" for b in row[:8]), " ".join(f"{b:02x}" for b in row[8:])
            shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
            await p.out(f"{at:08x}  {left:<23}  {right:<23}  |{shown}|\n")
            continue
        if "c" in options or options.get("t") == "c":
            escapes = {10: "\\n", 9: "\\t", 13: "\\r", 0: "\\0"}
            cells = "".join(f"{escapes.get(b, chr(b) if 32 <= b < 127 else f'{b:03o}'):>4}" for b in row)
        elif options.get("t") == "x1":
            cells = "".join(f" {b:02x}" for b in row)
        else:
            cells = "".join(f" {int.from_bytes(row[i : i + 2], 'little'):04x}" for i in range(0, len(row), 2))
        await p.out(f"{_offset(options.get('A'), octal, at)}{cells}\n")
    end = f"{len(data):08x}" if "C" in options else _offset(options.get("A"), octal, len(data))
    await p.out(f"{end}\n" if end else "")
    return 0


def _offset(base: str, octal: bool, at: int) -> str:
    return "" if base == "n" else f"{at:07o}" if octal else f"{at:07x}"


TOOLS: dict[str, Tool] = {
    "tar": _tar,
    "gzip": _gzip,
    "gunzip": _gzip,
    "zcat": _gzip,
    "base64": _base64,
    "md5sum": _sum,
    "sha1sum": _sum,
    "sha256sum": _sum,
    "sha512sum": _sum,
    "hexdump": _hexdump,
    "od": _hexdump,
}
