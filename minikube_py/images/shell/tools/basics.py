"""echo, printf, test, sleep, seq, date and other small ones, as busybox has them."""

import asyncio
import datetime
import math
import re

from minikube_py.images.shell import conditions
from minikube_py.images.shell.arrays import quoted
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]

_ESCAPES = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def unescape(text: str) -> tuple[str, bool]:
    """Resolve backslash escapes; the second value says that `\\c` ended the output."""
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char != "\\" or at + 1 == len(text):
            out.append(char)
            at += 1
            continue
        code = text[at + 1]
        if code == "c":
            return "".join(out), True
        if match := re.compile(r"x([0-9a-fA-F]{1,2})").match(text, at + 1):
            out.append(chr(int(match[1], 16)))
            at = match.end()
        elif match := re.compile(r"0?([0-7]{1,3})").match(text, at + 1):
            out.append(chr(int(match[1], 8) & 255))
            at = match.end()
        else:
            out.append(_ESCAPES.get(code, f"\\{code}"))
            at += 2
    return "".join(out), False


async def _echo(p: Process) -> int:
    args = p.args
    newline, escapes = "\n", False
    while args and re.fullmatch(r"-[neE]+", args[0]):
        for letter in args[0][1:]:
            if letter == "n":
                newline = ""
            else:
                escapes = letter == "e"
        args = args[1:]
    text = " ".join(args)
    if escapes:
        text, cut = unescape(text)
        if cut:
            newline = ""
    await p.out(text + newline)
    return 0


_FORMAT = re.compile(r"%([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d+))?([hlLjzt]*)([diouxXeEfFgGcsbq%])")


def _integer(text: str) -> int:
    if text[:1] in "'\"" and len(text) > 1:
        return ord(text[1])
    try:
        return int(text, 0) if not re.fullmatch(r"[-+]?0\d+", text) else int(text, 8)
    except ValueError:
        raise UsageError(f"invalid number '{text}'") from None


async def _printf(p: Process) -> int:
    args = p.args
    if args[:1] == ["--"]:
        args = args[1:]
    if not args:
        raise UsageError("usage: printf FORMAT [ARG]...", 1)
    template, values = args[0], list(args[1:])
    status = 0
    while True:
        before = len(values)
        text, stop, wrong = _format_once(template, values)
        for message in wrong:
            await p.err(f"printf: {message}\n")
            status = 1
        await p.out(text)
        if stop or not values or len(values) == before:
            return status


def escaped(text: str) -> str:
    """Return text as bash's `printf %q` writes it."""
    if not text or any(ord(char) < 32 for char in text):
        return quoted(text)
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)


def _format_once(template: str, values: list[str]) -> tuple[str, bool, list[str]]:
    """Fill the format in once; values are taken from the front of `values`."""
    out: list[str] = []
    wrong: list[str] = []
    at = 0

    def number(text: str) -> int:
        try:
            return _integer(text) if text else 0
        except UsageError as error:
            wrong.append(str(error))
            return 0

    while at < len(template):
        match = _FORMAT.match(template, at)
        if match is None:
            end = template.find("%", at + 1)
            piece, cut = unescape(template[at:] if end < 0 else template[at:end])
            out.append(piece)
            if cut:
                return "".join(out), True, wrong
            at = len(template) if end < 0 else end
            continue
        at = match.end()
        flags, width, precision, _, kind = match.groups()
        if kind == "%":
            out.append("%")
            continue
        if width == "*":
            width = str(number(values.pop(0) if values else ""))
        if precision == "*":
            precision = str(number(values.pop(0) if values else ""))
        value = values.pop(0) if values else ""
        spec = f"%{flags or ''}{width or ''}{'' if precision is None else '.' + precision}"
        if kind in "sc":
            out.append((spec + "s") % (value[:1] if kind == "c" else value))
        elif kind == "q":
            out.append((spec + "s") % escaped(value))
        elif kind == "b":
            piece, cut = unescape(value)
            out.append((spec + "s") % piece)
            if cut:
                return "".join(out), True, wrong
        elif kind in "diouxX":
            out.append((spec + ("d" if kind in "iu" else kind)) % number(value))
        else:
            try:
                out.append((spec + kind) % float(value or 0))
            except ValueError:
                wrong.append(f"invalid number '{value}'")
                out.append((spec + kind) % 0.0)
    return "".join(out), False, wrong


async def _true(p: Process) -> int:
    return 0


async def _false(p: Process) -> int:
    return 1


async def _yes(p: Process) -> int:
    text = (" ".join(p.args) or "y") + "\n"
    while True:
        await p.out(text * 64)
        await asyncio.sleep(0)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Read `5`, `0.5`, `1m`, `inf`; UsageError for anything else."""
    scale = _UNITS.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * scale if scale else float(text)
    except ValueError:
        raise UsageError(f"invalid number '{text}'") from None
    if value < 0 or math.isnan(value):
        raise UsageError(f"invalid number '{text}'")
    return value


async def _sleep(p: Process) -> int:
    if not p.args:
        raise UsageError("missing operand")
    total = sum(map(seconds, p.args))
    if total == math.inf:
        await asyncio.Event().wait()
    await asyncio.sleep(total)
    return 0


async def _usleep(p: Process) -> int:
    await asyncio.sleep(float(p.args[0] if p.args else 0) / 1e6)
    return 0


async def _seq(p: Process) -> int:
    options_ = [arg for arg in p.args if not re.fullmatch(r"-?[\d.]+", arg)]
    separator = "\n"
    pad = False
    numbers = [arg for arg in p.args if re.fullmatch(r"-?[\d.]+", arg)]
    while options_:
        option = options_.pop(0)
        if option == "-w":
            pad = True
        elif option.startswith("-s"):
            separator = option[2:] or (options_.pop(0) if options_ else " ")
        else:
            raise UsageError(f"invalid number '{option}'")
    if not 1 <= len(numbers) <= 3:
        raise UsageError("usage: seq [-w] [-s SEP] [FIRST [INC]] LAST")
    values = [float(number) for number in numbers]
    first = values[0] if len(values) > 1 else 1.0
    step = values[1] if len(values) > 2 else 1.0
    last = values[-1]
    places = max(len(number.partition(".")[2]) for number in (numbers[:-1] or ["1"]))
    if step == 0:
        raise UsageError("increment is zero")
    count = math.floor((last - first) / step + 1e-9) + 1
    width = max(len(f"{first:.{places}f}"), len(f"{last:.{places}f}")) if pad else 0
    for index in range(max(count, 0)):
        text = f"{first + index * step:.{places}f}"
        if pad:
            text = text.zfill(width)
        await p.out(text + (separator if index < count - 1 else "\n"))
    return 0


async def _test(p: Process) -> int:
    args = p.args
    if p.name in ("[", "[["):
        if args[-1:] != [p.name.replace("[", "]")]:
            raise conditions.ConditionError(f"missing {p.name.replace('[', ']')}")
        args = args[:-1]
    return int(not conditions.test(args, p.view, tty=p.tty))


async def _basename(p: Process) -> int:
    if not p.args:
        raise UsageError("usage: basename FILE [SUFFIX]")
    name = p.args[0].rstrip("/").rpartition("/")[2] or "/"
    suffix = p.args[1] if len(p.args) > 1 else ""
    await p.out((name.removesuffix(suffix) if name != suffix else name) + "\n")
    return 0


async def _dirname(p: Process) -> int:
    if not p.args:
        raise UsageError("usage: dirname FILENAME")
    head, slash, _ = p.args[0].rstrip("/").rpartition("/")
    await p.out((head.rstrip("/") or "/" if slash else ".") + "\n")
    return 0


async def _expr(p: Process) -> int:
    """Arithmetic, comparison and `:` (regular expression match)."""
    args = list(p.args)
    if len(args) == 3 and args[1] == ":":
        pattern = args[2].replace("\\(", "(").replace("\\)", ")")
        match = re.match(pattern, args[0])
        text = "" if "(" in pattern else "0"
        if match is not None:
            text = match[1] if match.re.groups else str(match.end())
        await p.out(f"{text}\n")
        return int(text in ("", "0"))
    if len(args) == 2 and args[0] == "length":
        await p.out(f"{len(args[1])}\n")
        return 0
    if len(args) == 1:
        await p.out(f"{args[0]}\n")
        return int(args[0] in ("", "0"))
    from minikube_py.images.shell.arithmetic import ArithmeticSyntaxError, evaluate

    if len(args) == 3 and args[1] in ("=", "!=") and not all(re.fullmatch(r"-?\d+", args[i]) for i in (0, 2)):
        value = int((args[0] == args[2]) == (args[1] == "="))
    else:
        words = ["==" if arg == "=" else arg for arg in args]
        if any(not re.fullmatch(r"-?\d+|[-+*/%()<>]|[<>!=]=|[&|]", word) for word in words):
            raise UsageError("syntax error", 2)
        try:
            value = evaluate(" ".join(words), {})
        except ArithmeticSyntaxError as error:
            raise UsageError(str(error), 2) from None
    await p.out(f"{value}\n")
    return int(not value)


async def _date(p: Process) -> int:
    options = read_options(
        [arg for arg in p.args if not arg.startswith("+")], "uRIs:d:r:D:", {"utc": "u", "date=": "d", "iso-8601": "I"}
    )
    when = datetime.datetime.now(datetime.UTC)
    if "d" in options:
        text = options.get("d")
        try:
            if text.startswith("@"):
                when = datetime.datetime.fromtimestamp(float(text[1:]), datetime.UTC)
            elif text != "now":
                when = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"invalid date '{text}'") from None
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.UTC)
    if "r" in options:
        when = datetime.datetime.fromtimestamp(p.view.stat(options.get("r")).modified, datetime.UTC)
    if "s" in options:
        return await p.fail("can't set date: Operation not permitted")
    template = next((arg[1:] for arg in p.args if arg.startswith("+")), None)
    if template is None:
        template = "%a, %d %b %Y %H:%M:%S +0000" if "R" in options else "%a %b %e %H:%M:%S UTC %Y"
        if "I" in options:
            template = "%Y-%m-%d"
    template = template.replace("%N", f"{when.microsecond * 1000:09d}").replace("%s", str(int(when.timestamp())))
    template = template.replace("%3N", f"{when.microsecond // 1000:03d}")
    await p.out(when.strftime(template) + "\n")
    return 0


async def _clear(p: Process) -> int:
    await p.out("\x1b[H\x1b[J")
    return 0


TOOLS: dict[str, Tool] = {
    "echo": _echo,
    "printf": _printf,
    "true": _true,
    "false": _false,
    "yes": _yes,
    "sleep": _sleep,
    "usleep": _usleep,
    "seq": _seq,
    "test": _test,
    "[": _test,
    "[[": _test,
    "basename": _basename,
    "dirname": _dirname,
    "expr": _expr,
    "date": _date,
    "clear": _clear,
}
