"""Commands that change the shell itself: cd, export, read, set, trap, …

Each takes a `Process` whose `shell` is the shell to change. To add one, write it and list it in `BUILTINS`.
"""

import asyncio
import re
from collections.abc import Mapping

from minikube_py.images.shell import tools
from minikube_py.images.shell.control import Break, Continue, Exit, Return
from minikube_py.images.shell.expansion import ExpansionError
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of

__all__ = ["BUILTINS", "DECLARATIONS", "SPECIAL"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"Illegal number: {text}", 2) from None


async def _colon(p: Process) -> int:
    return 0


async def _cd(p: Process) -> int:
    args = [arg for arg in p.args if arg not in ("-L", "-P", "--")]
    shell = p.shell
    target = args[0] if args else shell.variables.get("HOME", "/")
    if target == "-":
        target = shell.variables.get("OLDPWD", p.view.cwd)
        await p.out(f"{target}\n")
    path = shell.view.path(target or ".")
    if not shell.view.is_dir(path):
        exists = shell.view.exists(path)
        await shell.complain(
            f"cd: can't cd to {target}: {'Not a directory' if exists else 'No such file or directory'}"
        )
        return 1 if shell.bash else 2
    shell.variables["OLDPWD"] = shell.view.cwd
    shell.view.cwd = shell.variables["PWD"] = path
    return 0


async def _pwd(p: Process) -> int:
    await p.out(f"{p.shell.view.cwd}\n")
    return 0


async def _exit(p: Process) -> int:
    raise Exit(_number(p.args[0]) if p.args else p.shell.status)


async def _return(p: Process) -> int:
    code = _number(p.args[0]) if p.args else p.shell.status
    if not p.shell.depth:
        raise Exit(code)
    raise Return(code)


async def _break(p: Process) -> int:
    raise Break(_number(p.args[0]) if p.args else 1)


async def _continue(p: Process) -> int:
    raise Continue(_number(p.args[0]) if p.args else 1)


async def _eval(p: Process) -> int:
    text = " ".join(p.args)
    return await p.shell.evaluate(text) if text.strip() else 0


async def _source(p: Process) -> int:
    shell = p.shell
    if not p.args:
        raise UsageError("filename argument required", 2)
    name = p.args[0]
    path = name if "/" in name else shell.lookup(name) or name
    try:
        text = shell.view.read(path).decode("utf-8", "surrogateescape")
    except OSError as error:
        await shell.complain(f"{p.argv[0]}: can't open '{name}': {error.strerror}")
        if shell.tty or shell.bash:
            return 1
        raise Exit(2) from None
    positional = shell.positional
    if len(p.args) > 1:
        shell.positional = p.args[1:]
    shell.depth += 1
    try:
        return await shell.evaluate(text)
    except Return as end:
        return end.code
    finally:
        shell.depth -= 1
        shell.positional = positional


async def _exec(p: Process) -> int:
    shell = p.shell
    if not p.args:
        return 0
    code = await shell.spawn(p.args, p.stdin, p.stdout, p.stderr, p.env, shell.view.copy(), found_by_shell=True)
    raise Exit(code)


async def _declare(p: Process) -> int:
    """export, readonly, local, declare."""
    shell = p.shell
    word = p.name
    flags = "".join(arg[1:] for arg in p.args if re.fullmatch(r"-[a-zA-Z]+", arg))
    args = [arg for arg in p.args if not re.fullmatch(r"-[a-zA-Z]+|--", arg)]
    if "a" in flags or "A" in flags:
        raise UsageError("arrays are not supported by the built-in shell", 2)
    if word == "local" and not shell.locals:
        raise UsageError("not in a function", 1)
    if not args or "p" in flags:
        names = shell.read_only if word == "readonly" else shell.exported if word == "export" else set(shell.variables)
        for name in sorted(names & set(shell.variables)):
            await p.out(f"{word} {name}='{shell.variables[name]}'\n")
        return 0
    for arg in args:
        name, equals, value = arg.partition("=")
        append = name.endswith("+")
        name = name.removesuffix("+")
        if not _NAME.fullmatch(name):
            raise UsageError(f"{arg}: bad variable name", 2)
        if word == "export" and "n" in flags:
            shell.exported.discard(name)
            continue
        if word in ("local", "declare", "typeset") and shell.locals and "g" not in flags:
            shell.locals[-1].setdefault(name, shell.variables.get(name))
            if not equals:
                shell.variables.pop(name, None)
        if equals:
            shell.assign(name, shell.variables.get(name, "") + value if append else value)
        if word == "export" or "x" in flags:
            shell.exported.add(name)
        if word == "readonly" or "r" in flags:
            shell.read_only.add(name)
    return 0


async def _unset(p: Process) -> int:
    shell = p.shell
    functions = False
    for arg in p.args:
        if arg in ("-f", "-v"):
            functions = arg == "-f"
        elif functions:
            shell.functions.pop(arg, None)
        elif arg in shell.read_only:
            raise UsageError(f"{arg}: is read only", 2)
        else:
            if shell.variables.pop(arg, None) is None:
                shell.functions.pop(arg, None)
            shell.exported.discard(arg)
    return 0


_LONG = {
    "errexit": "e",
    "nounset": "u",
    "xtrace": "x",
    "noglob": "f",
    "allexport": "a",
    "noclobber": "C",
    "verbose": "v",
}


async def _set(p: Process) -> int:
    shell, args = p.shell, list(p.args)
    if not args:
        for name in sorted(shell.variables):
            await p.out(f"{name}='{shell.variables[name]}'\n")
        return 0
    while args:
        arg = args.pop(0)
        if arg == "--":
            shell.positional = args
            return 0
        if arg in ("-o", "+o") or (arg[:1] in "-+" and arg[-1:] == "o" and len(arg) > 2):
            letters = [char for char in arg[1:] if char != "o"]
            if args:
                name = args.pop(0)
                if name not in _LONG and name not in ("pipefail", "vi", "emacs"):
                    raise UsageError(f"illegal option -o {name}", 2)
                letters.append(_LONG.get(name, name))
        elif arg[:1] in "-+" and len(arg) > 1:
            letters = list(arg[1:])
        else:
            shell.positional = [arg, *args]
            return 0
        for letter in letters:
            (shell.options.add if arg[0] == "-" else shell.options.discard)(letter)
    return 0


async def _shift(p: Process) -> int:
    count = _number(p.args[0]) if p.args else 1
    if count > len(p.shell.positional):
        return 1
    p.shell.positional = p.shell.positional[count:]
    return 0


async def _read(p: Process) -> int:
    shell, args = p.shell, list(p.args)
    raw = silent = False
    timeout: float | None = None
    count: int | None = None
    delimiter = b"\n"
    while args and args[0].startswith("-") and len(args[0]) > 1:
        option = args.pop(0)[1:]
        while option:
            letter, option = option[0], option[1:]
            if letter == "r":
                raw = True
            elif letter == "s":
                silent = True
            elif letter in "ptnd":
                value = option or (args.pop(0) if args else "")
                option = ""
                if letter == "p":
                    await p.err(value)
                elif letter == "t":
                    timeout = float(value)
                elif letter == "d":
                    delimiter = value[:1].encode() or b"\0"
                else:
                    count = _number(value)
            else:
                raise UsageError(f"illegal option -{letter}", 2)
    del silent
    names = args or ["REPLY"]
    try:
        async with asyncio.timeout(timeout):
            data, ended = await _read_line(p, raw, delimiter, count)
    except TimeoutError:
        return 142
    ifs = shell.variables.get("IFS", " \t\n")
    white = "".join(char for char in ifs if char in " \t\n")
    chars = data
    fields: list[str] = []
    at = 0
    while at < len(chars) and chars[at][0] in white and not chars[at][1] and white:
        at += 1
    while len(fields) < len(names) - 1 and at < len(chars):
        field = ""
        while at < len(chars) and (chars[at][1] or chars[at][0] not in ifs):
            field += chars[at][0]
            at += 1
        fields.append(field)
        while at < len(chars) and chars[at][0] in white and not chars[at][1]:
            at += 1
        if at < len(chars) and not chars[at][1] and chars[at][0] in ifs and chars[at][0] not in white:
            at += 1
            while at < len(chars) and chars[at][0] in white and not chars[at][1]:
                at += 1
        elif at < len(chars) and chars[at - 1][0] not in ifs:
            at += 1
    rest = "".join(char for char, _ in chars[at:])
    fields.append(rest.rstrip(white) if white else rest)
    fields += [""] * (len(names) - len(fields))
    for name, value in zip(names, fields, strict=False):
        shell.assign(name, value)
    return int(ended)


async def _read_line(p: Process, raw: bool, delimiter: bytes, count: int | None) -> tuple[list[tuple[str, bool]], bool]:
    """Return the characters with a note of which were escaped, and whether the input ended."""
    data = bytearray()
    marks: list[tuple[str, bool]] = []
    ended = False
    if count is None and delimiter == b"\n":
        while True:
            line = await p.stdin.line()
            ended = not line.endswith(b"\n")
            data += line.removesuffix(b"\n")
            if not raw and not ended and data.endswith(b"\\") and (len(data) - len(data.rstrip(b"\\"))) % 2:
                del data[-1:]
                continue
            break
    else:
        while count is None or len(data) < count:
            byte = await p.stdin.read(1)
            if not byte:
                ended = True
                break
            if byte == delimiter:
                break
            data += byte
    text = data.decode("utf-8", "surrogateescape")
    at = 0
    while at < len(text):
        if not raw and text[at] == "\\" and at + 1 < len(text):
            marks.append((text[at + 1], True))
            at += 2
            continue
        marks.append((text[at], False))
        at += 1
    return marks, ended


_SIGNALS = {"0": "EXIT", "1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}


def signal_name(text: str) -> str:
    """Return `TERM` for TERM, SIGTERM, 15."""
    return _SIGNALS.get(text, text.upper().removeprefix("SIG"))


async def _trap(p: Process) -> int:
    shell, args = p.shell, [arg for arg in p.args if arg != "--"]
    if not args or args == ["-p"]:
        for name, known in shell.traps.items():
            await p.out(f"trap -- '{known}' {name}\n")
        return 0
    action: str | None = args.pop(0)
    if action == "-" or (not args and action is not None):
        args = args or [action or ""]
        action = None
    for arg in args:
        name = signal_name(arg)
        if action is None:
            shell.traps.pop(name, None)
        else:
            shell.traps[name] = action
    return 0


async def _wait(p: Process) -> int:
    shell = p.shell
    status = 0
    wanted = [_number(arg.removeprefix("%")) for arg in p.args if arg != "-n"] or list(shell.jobs)
    for pid in wanted:
        task = shell.jobs.get(pid) or (list(shell.jobs.values())[pid - 1] if 0 < pid <= len(shell.jobs) else None)
        if task is None:
            status = 127
            continue
        signalled = asyncio.ensure_future(shell.signalled.wait())
        try:
            await asyncio.wait((task, signalled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            signalled.cancel()
        if not task.done():
            return 143
        status = 143 if task.cancelled() else task.result()
        shell.jobs.pop(pid, None)
    return status if p.args else 0


async def _jobs(p: Process) -> int:
    running = table_of(p.container).running
    for number, (pid, task) in enumerate(p.shell.jobs.items(), 1):
        if not task.done():
            command = " ".join(running[pid].argv) if pid in running else ""
            await p.out(f"[{number}]+ Running                    {command}\n")
    return 0


async def _kill(p: Process) -> int:
    args = list(p.args)
    name = "TERM"
    if args and args[0] == "-l":
        await p.out("HUP INT QUIT KILL USR1 USR2 TERM\n")
        return 0
    if args and args[0] == "-s":
        name, args = signal_name(args[1]), args[2:]
    elif args and args[0].startswith("-") and args[0] != "--":
        name, args = signal_name(args[0][1:]), args[1:]
    if not args:
        raise UsageError("you need to specify whom to kill")
    status = 0
    table = table_of(p.container)
    for arg in args:
        if arg.startswith("%"):
            pids = list(p.shell.jobs)
            pid = pids[int(arg[1:] or len(pids)) - 1] if pids else 0
        else:
            pid = _number(arg)
        entry = table.running.get(pid)
        if pid == p.shell.pid and pid != 1:
            if not p.shell.signal(name):
                raise Exit(143)
            await p.shell.handle_signals()
        elif entry is None:
            await p.err(f"{p.shell.name}: can't kill pid {pid}: No such process\n")
            status = 1
        elif name in ("0", "EXIT"):
            continue
        elif (entry.signal is None or not entry.signal(name)) and entry.task is not None:
            entry.task.cancel()
    return status


async def _getopts(p: Process) -> int:
    shell = p.shell
    if len(p.args) < 2:
        raise UsageError("usage: getopts optstring var [arg...]", 2)
    spec, name = p.args[:2]
    args = p.args[2:] or shell.positional
    index = int(shell.variables.get("OPTIND", "1"))
    offset = int(shell.variables.get("_OPTOFFSET", "1"))
    if index > len(args) or not args[index - 1].startswith("-") or args[index - 1] in ("-", "--"):
        if index <= len(args) and args[index - 1] == "--":
            index += 1
        shell.variables.update({"OPTIND": str(index), name: "?"})
        return 1
    word = args[index - 1]
    letter = word[offset]
    at = spec.find(letter) if letter != ":" else -1
    value = letter
    shell.variables.pop("OPTARG", None)
    if at < 0:
        value = "?"
        if spec.startswith(":"):
            shell.variables["OPTARG"] = letter
        else:
            await p.shell.complain(f"illegal option -- {letter}")
    elif spec[at + 1 : at + 2] == ":":
        if word[offset + 1 :]:
            shell.variables["OPTARG"] = word[offset + 1 :]
        elif index < len(args):
            index += 1
            shell.variables["OPTARG"] = args[index - 1]
        else:
            value = ":" if spec.startswith(":") else "?"
            if value == ":":
                shell.variables["OPTARG"] = letter
            else:
                await p.shell.complain(f"option requires an argument -- {letter}")
        offset = len(word)
    offset += 1
    if offset >= len(word):
        index, offset = index + 1, 1
    shell.variables.update({"OPTIND": str(index), "_OPTOFFSET": str(offset), name: value})
    return 0


async def _type(p: Process) -> int:
    """type, command -v, command -V."""
    shell = p.shell
    status = 0
    brief = p.name == "command"
    for name in p.args:
        if name in shell.functions:
            text = name if brief else f"{name} is a function"
        elif name in BUILTINS:
            text = name if brief else f"{name} is a shell builtin"
        elif (path := shell.lookup(name)) is not None:
            text = path if brief else f"{name} is {path}"
        elif shell.find(name) is not None:
            path = name if "/" in name else tools.path(name)
            text = path if brief else f"{name} is {path}"
        else:
            status = 127
            if not brief:
                await p.err(f"{shell.name}: {name}: not found\n")
            continue
        await p.out(f"{text}\n")
    return status


async def _command(p: Process) -> int:
    args = p.args
    if args[:1] in (["-v"], ["-V"]):
        p.argv = ["command" if args[0] == "-v" else "type", *args[1:]]
        return await _type(p)
    while args[:1] in (["-p"], ["--"]):
        args = args[1:]
    if not args:
        return 0
    if (builtin := BUILTINS.get(args[0])) is not None:
        p.argv = list(args)
        return await builtin(p)
    return await p.shell.spawn(args, p.stdin, p.stdout, p.stderr, p.env, p.view.copy(), found_by_shell=True)


async def _umask(p: Process) -> int:
    if not p.args:
        await p.out("0022\n")
    return 0


async def _let(p: Process) -> int:
    from minikube_py.images.shell.arithmetic import ArithmeticSyntaxError, evaluate

    value = 0
    for arg in p.args:
        try:
            value = evaluate(arg, p.shell.variables)
        except ArithmeticSyntaxError as error:
            raise ExpansionError(str(error)) from None
    return int(not value)


async def _times(p: Process) -> int:
    await p.out("0m0.00s 0m0.00s\n0m0.00s 0m0.00s\n")
    return 0


BUILTINS: Mapping[str, Tool] = {
    ".": _source,
    ":": _colon,
    "break": _break,
    "cd": _cd,
    "command": _command,
    "continue": _continue,
    "declare": _declare,
    "eval": _eval,
    "exec": _exec,
    "exit": _exit,
    "export": _declare,
    "getopts": _getopts,
    "jobs": _jobs,
    "kill": _kill,
    "let": _let,
    "local": _declare,
    "pwd": _pwd,
    "read": _read,
    "readonly": _declare,
    "return": _return,
    "set": _set,
    "shift": _shift,
    "source": _source,
    "times": _times,
    "trap": _trap,
    "type": _type,
    "typeset": _declare,
    "umask": _umask,
    "unset": _unset,
    "wait": _wait,
}
DECLARATIONS = frozenset(("export", "readonly", "local", "declare", "typeset"))
SPECIAL = frozenset((":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set"))
"""POSIX' special builtins: assignments before them last, and a failed redirection ends the shell."""
