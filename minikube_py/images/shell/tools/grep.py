"""grep, egrep, fgrep: -v -i -c -o -E -F -q -n -r -l -L -w -x -e -f -m -h -H -A -B -C -s.

Leaves out: -P's own syntax (it is read as -E), --include and --exclude.
"""

import re

from minikube_py.images.exec import NOT_SAID
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.lines import each_source, lines
from minikube_py.images.shell.tools.options import Options, read_options
from minikube_py.images.shell.tools.regexes import posix_regex

__all__ = ["TOOLS"]


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
    if not hit:
        p.view.missing.add(f"{NOT_SAID}text {wanted[0] if wanted else ''}")
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


TOOLS: dict[str, Tool] = {
    "grep": _grep,
    "egrep": _grep,
    "fgrep": _grep,
}
