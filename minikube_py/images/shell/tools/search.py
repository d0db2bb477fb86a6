"""grep, sed and awk.

grep: -v -i -c -o -E -F -q -n -r -l -L -w -x -e -f -m -h -H -A -B -C -s. sed: s, d, p, q, a, i, c, y, =, n and addresses
(number, $, /re/, ranges, !), -n -e -E -r -i. awk: rules with /re/, comparisons, BEGIN and END, print, printf,
assignments to variables, NR NF $N, -F -v. Leaves out: sed's hold space and branches, awk's loops, arrays and
functions; each is refused with a message that says so.
"""

import re
from collections.abc import Callable

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.basics import unescape
from minikube_py.images.shell.tools.options import Options, read_options
from minikube_py.images.shell.tools.text import each_source, lines

__all__ = ["TOOLS", "posix_regex"]

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f",
    "digit": "0-9",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def posix_regex(text: str, *, extended: bool) -> str:
    """Return Python's form of a POSIX regular expression: in basic ones, \\( \\{ \\| \\+ \\? are the special forms."""
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            following = text[at + 1]
            at += 2
            if following in "(){}|+?" and not extended:
                out.append(following)
            elif following == "<" or following == ">":
                out.append(r"\b")
            elif following in "wWsSbBnt123456789":
                out.append("\\" + following)
            else:
                out.append(re.escape(following))
        elif char == "[":
            end = at + 1 + (text[at + 1 : at + 2] == "^")
            end = end + 1 if text[end : end + 1] == "]" else end
            while end < len(text) and text[end] != "]":
                closing = text.find(":]", end) if text.startswith("[:", end) else -1
                end = closing + 2 if closing >= 0 else end + 1
            if end >= len(text):
                raise UsageError("bad regex: unmatched [", 2)
            inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            for name, members in _CLASSES.items():
                inside = inside.replace(f"\\[:{name}:]", members)
            if inside.startswith("]") or inside.startswith("^]"):
                inside = inside.replace("]", "\\]", 1)
            out.append(f"[{inside}]")
            at = end + 1
        elif char in "(){}|+?" and not extended:
            out.append("\\" + char)
            at += 1
        elif char == "*" and (not out or out[-1] in ("(", "|", "^")):
            out.append("\\*")
            at += 1
        else:
            out.append("\\Z" if char == "$" and at == len(text) - 1 else char)
            at += 1
    return "".join(out)


def compiled(text: str, *, extended: bool, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a POSIX regular expression; UsageError if it is none."""
    try:
        return re.compile(posix_regex(text, extended=extended), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(f"bad regex '{text}': {error}", 2) from None


_GREP_LONG = {
    "extended-regexp": "E",
    "fixed-strings": "F",
    "ignore-case": "i",
    "invert-match": "v",
    "count": "c",
    "quiet": "q",
    "silent": "q",
    "only-matching": "o",
    "line-number": "n",
    "recursive": "r",
    "files-with-matches": "l",
    "word-regexp": "w",
    "regexp=": "e",
    "max-count=": "m",
    "no-messages": "s",
    "color=": "color",
    "color": "color",
    "line-buffered": "u",
    "after-context=": "A",
    "before-context=": "B",
    "context=": "C",
    "no-filename": "h",
    "with-filename": "H",
    "text": "a",
    "include=": "include",
    "exclude=": "exclude",
}


async def _grep(p: Process) -> int:
    options = read_options(p.args, "EFGPivcqonrRlLwxe:f:m:hHsA:B:C:aIzU", _GREP_LONG, code=2)
    rest = options.rest
    wanted = [line for text in options.all("e") for line in text.split("\n")]
    for name in options.all("f"):
        wanted += p.view.read(name).decode("utf-8", "surrogateescape").splitlines()
    if not options.all("e") and not options.all("f"):
        if not rest:
            raise UsageError("usage: grep [-EFivcqonrlLwx] PATTERN [FILE]...", 2)
        wanted, rest = rest[0].split("\n"), rest[1:]
    extended = "E" in options or "P" in options or p.name == "egrep"
    fixed = "F" in options or p.name == "fgrep"
    sources = [re.escape(one) if fixed else posix_regex(one, extended=extended) for one in wanted]
    if "w" in options:
        sources = [rf"(?<!\w)(?:{one})(?!\w)" for one in sources]
    if "x" in options:
        sources = [rf"\A(?:{one})\Z" for one in sources]
    try:
        regex = re.compile("|".join(f"(?:{one})" for one in sources), re.IGNORECASE if "i" in options else 0)
    except re.error as error:
        raise UsageError(f"bad regex: {error}", 2) from None
    names: list[str] = []
    deep = "r" in options or "R" in options
    for name in rest or (["."] if deep else []):
        if deep and p.view.is_dir(name):
            names += [one for one in p.view.walk(name) if (found := p.view.find(one)) is not None and found.is_file]
        else:
            names.append(name)
    shown = ("H" in options or len(names) > 1 or deep) and "h" not in options
    status: list[int] = []
    hit = False
    async for name, source in each_source(p, names, status):
        count = await _grep_one(p, options, regex, source, f"{name}:" if shown else "", name)
        hit = hit or (count > 0)
        if hit and "q" in options:
            return 0
    return 2 if status and not hit else int(not hit)


async def _grep_one(
    p: Process, options: Options, regex: re.Pattern[str], source: object, prefix: str, name: str
) -> int:
    """Search one file; return how many lines were selected."""
    before = int(options.number("B", options.number("C", 0)))
    after = int(options.number("A", options.number("C", 0)))
    most = int(options.number("m", 0))
    quiet = any(letter in options for letter in "qclL")
    count = number = 0
    due = 0
    kept: list[tuple[int, str]] = []
    last = 0
    async for line in lines(source):  # type: ignore[arg-type]  # a Source
        number += 1
        if (regex.search(line) is not None) == ("v" in options):
            if due and not quiet:
                due -= 1
                last = number
                await p.out(f"{prefix.replace(':', '-')}{f'{number}-' if 'n' in options else ''}{line}\n")
            elif before:
                kept = [*kept, (number, line)][-before:]
            continue
        count += 1
        if "q" in options or "l" in options or "L" in options:
            break
        if not quiet:
            if (before or after) and last and (kept[0][0] if kept else number) > last + 1:
                await p.out("--\n")
            for at, text in kept:
                await p.out(f"{prefix.replace(':', '-')}{f'{at}-' if 'n' in options else ''}{text}\n")
            kept = []
            head = prefix + (f"{number}:" if "n" in options else "")
            if "o" in options and "v" not in options:
                await p.out("".join(f"{head}{match[0]}\n" for match in regex.finditer(line) if match[0]))
            else:
                await p.out(f"{head}{line}\n")
            due, last = after, number
        if most and count >= most:
            break
    if "c" in options and "q" not in options:
        await p.out(f"{prefix}{count}\n")
    elif ("l" in options and count) or ("L" in options and not count):
        await p.out(f"{name}\n")
    return count


# sed


class _SedCommand:
    def __init__(self) -> None:
        self.first: object = None
        self.last: object = None
        self.negated = False
        self.name = ""
        self.text = ""
        self.regex: re.Pattern[str] | None = None
        self.flags = ""
        self.active = False
        self.until = 0
        self.inner: list[_SedCommand] = []


class _SedParser:
    def __init__(self, text: str, extended: bool) -> None:
        self._text = text
        self._at = 0
        self._extended = extended

    def parse(self, *, inner: bool = False) -> list[_SedCommand]:
        found: list[_SedCommand] = []
        while True:
            while self._peek() in (" ", "\t", "\n", ";"):
                self._at += 1
            if not self._peek():
                if inner:
                    raise UsageError("unterminated {")
                return found
            if self._peek() == "#":
                self._line()
                continue
            if self._peek() == "}":
                self._at += 1
                return found
            found.append(self._command())

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _line(self) -> str:
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        line = self._text[self._at : end]
        self._at = end
        return line

    def _address(self) -> object:
        char = self._peek()
        if char.isdigit():
            match = re.compile(r"\d+").match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            return int(match[0])
        if char == "$":
            self._at += 1
            return "$"
        if char in ("/", "\\"):
            if char == "\\":
                self._at += 1
            return compiled(self._until(self._peek()), extended=self._extended)
        return None

    def _until(self, delimiter: str) -> str:
        """Read from after the delimiter here to the next one."""
        self._at += 1
        out = ""
        while self._peek() != delimiter:
            if not self._peek():
                raise UsageError(f"unmatched '{delimiter}'")
            if self._peek() == "\\" and self._text[self._at + 1 : self._at + 2] == delimiter:
                out += delimiter if delimiter not in "|+?(){}" else "\\" + delimiter
                self._at += 2
            elif self._peek() == "\\":
                out += self._text[self._at : self._at + 2]
                self._at += 2
            else:
                out += self._peek()
                self._at += 1
        self._at += 1
        return out

    def _command(self) -> _SedCommand:
        made = _SedCommand()
        made.first = self._address()
        if made.first is not None and self._peek() == ",":
            self._at += 1
            if self._peek() == "+":
                self._at += 1
                made.last = ("+", self._address())
            else:
                made.last = self._address()
        while self._peek() in (" ", "!"):
            made.negated = made.negated or self._peek() == "!"
            self._at += 1
        made.name = self._peek()
        self._at += 1
        match made.name:
            case "s":
                delimiter = self._peek()
                pattern = self._until(delimiter)
                self._at -= 1
                made.text = self._until(delimiter)
                flags = re.compile(r"[gpiI0-9]*").match(self._text, self._at)
                assert flags is not None
                made.flags, self._at = flags[0], flags.end()
                ignore = "i" in made.flags or "I" in made.flags
                made.regex = compiled(pattern, extended=self._extended, ignore_case=ignore)
            case "y":
                delimiter = self._peek()
                source = self._until(delimiter)
                self._at -= 1
                made.text = self._until(delimiter)
                made.flags = source
                if len(unescape(source)[0]) != len(unescape(made.text)[0]):
                    raise UsageError("strings for 'y' command are different lengths")
            case "a" | "i" | "c":
                made.text = re.sub(r"^\s*\\?\n?\s*", "", self._line())
            case "{":
                made.inner = self.parse(inner=True)
            case "d" | "p" | "q" | "=" | "n":
                pass
            case _:
                raise UsageError(f"unsupported command {made.name}")
        return made


def _sed_replacement(text: str) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        out, at = "", 0
        while at < len(text):
            char = text[at]
            if char == "\\" and at + 1 < len(text):
                following = text[at + 1]
                if following.isdigit():
                    out += (match[int(following)] or "") if int(following) <= (match.re.groups or 0) else ""
                else:
                    out += {"n": "\n", "t": "\t"}.get(following, following)
                at += 2
                continue
            out += match[0] if char == "&" else char
            at += 1
        return out

    return fill


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
            result = _edit(found, _SedParser(text, extended).parse(), silent="n" in options)
            p.view.write(name, "".join(result).encode("utf-8", "surrogateescape"))
        return max(status, default=0)
    found = []
    async for _, source in each_source(p, rest, status):
        async for line in lines(source):
            found.append(line)
    for piece in _edit(found, _SedParser(text, extended).parse(), silent="n" in options):
        await p.out(piece)
    return max(status, default=0)


def _edit(found: list[str], commands: list[_SedCommand], *, silent: bool) -> list[str]:
    """Run a sed script over lines; return what it writes. Pure."""
    out: list[str] = []
    at = 0

    def hits(address: object, number: int, line: str) -> bool:
        if isinstance(address, re.Pattern):
            return address.search(line) is not None
        return number == len(found) if address == "$" else number == address

    def selected(command: _SedCommand, number: int, line: str) -> bool:
        if command.first is None:
            return True
        if command.last is None:
            return hits(command.first, number, line)
        if command.active:
            if isinstance(command.last, int | tuple):
                command.active = number < command.until
                return number <= command.until
            command.active = not hits(command.last, number, line)
            return True
        if not hits(command.first, number, line):
            return False
        if isinstance(command.last, int):
            command.until = command.last
            command.active = command.last > number
        elif isinstance(command.last, tuple):
            command.until = number + int(command.last[1] or 0)
            command.active = command.until > number
        else:
            command.active = True
        return True

    class _Stop(Exception):
        pass

    state = {"line": "", "deleted": False}
    after: list[str] = []

    def run(commands: list[_SedCommand], number: int) -> bool:
        for command in commands:
            line = str(state["line"])
            if selected(command, number, line) == command.negated:
                continue
            match command.name:
                case "s":
                    assert command.regex is not None
                    which = int(re.sub(r"\D", "", command.flags) or 1)
                    line, changed = _substituted(line, command, which)
                    state["line"] = line
                    if changed and "p" in command.flags:
                        out.append(f"{line}\n")
                case "y":
                    table = dict(zip(unescape(command.flags)[0], unescape(command.text)[0], strict=True))
                    state["line"] = "".join(table.get(char, char) for char in line)
                case "d":
                    state["deleted"] = True
                    return True
                case "p":
                    out.append(f"{line}\n")
                case "=":
                    out.append(f"{number}\n")
                case "i":
                    out.append(f"{unescape(command.text)[0]}\n")
                case "a":
                    after.append(f"{unescape(command.text)[0]}\n")
                case "c":
                    if not command.active or command.last is None:
                        out.append(f"{unescape(command.text)[0]}\n")
                    state["deleted"] = True
                    return True
                case "q":
                    if not silent:
                        out.append(f"{line}\n")
                    raise _Stop
                case "n":
                    return True
                case "{":
                    if run(command.inner, number):
                        return True
        return False

    try:
        while at < len(found):
            state.update(line=found[at], deleted=False)
            at += 1
            run(commands, at)
            if not silent and not state["deleted"]:
                out.append(f"{state['line']}\n")
            out.extend(after)
            after.clear()
    except _Stop:
        out.extend(after)
    return out


def _substituted(line: str, command: _SedCommand, which: int) -> tuple[str, bool]:
    assert command.regex is not None
    fill = _sed_replacement(command.text)
    if "g" in command.flags and which == 1:
        made, count = command.regex.subn(fill, line)
        return made, count > 0
    for number, match in enumerate(command.regex.finditer(line), 1):
        if number == which:
            return line[: match.start()] + fill(match) + line[match.end() :], True
    return line, False


# awk


async def _awk(p: Process) -> int:
    from minikube_py.images.shell.tools.awk import Program

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


TOOLS: dict[str, Tool] = {"grep": _grep, "egrep": _grep, "fgrep": _grep, "sed": _sed, "awk": _awk}
