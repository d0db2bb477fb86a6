"""sh, env, xargs, timeout, ps and what else is about processes and the machine."""

import asyncio
import os
import time

from minikube_py.images.exec import NOT_SAID, WINDOW
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of
from minikube_py.images.shell.tools.basics import seconds
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _sh(p: Process) -> int:
    from minikube_py.images.shell.interpreter import Shell
    from minikube_py.images.shell.terminal import converse

    args = p.args
    options: set[str] = set()
    command = interactive = False
    while args and args[0][:1] in "-+" and len(args[0]) > 1:
        arg, args = args[0], args[1:]
        if arg == "--":
            break
        if arg in ("--login", "--norc", "--noprofile", "--posix"):
            continue
        for letter in arg[1:]:
            if letter == "c":
                command = True
            elif letter == "i":
                interactive = True
            elif letter == "o":
                if args:
                    name, args = args[0], args[1:]
                    options.add({"errexit": "e", "nounset": "u", "xtrace": "x"}.get(name, name))
            elif letter in "eufxvnaClsm":
                options.add(letter)
            else:
                raise UsageError(f"illegal option -{letter}", 2)
    name = p.argv[0].rpartition("/")[2]
    shell = Shell(
        p.container, p.view.copy(), {0: p.stdin, 1: p.stdout, 2: p.stderr}, variables=p.env, name=name, tty=p.tty
    )
    shell.bash = name == "bash"
    shell.options = options - set("lsm")
    outer = p.shell
    shell.main_session = outer.main_session
    entry = None
    if outer.is_root:
        outer.main = shell
        shell.pid = outer.pid
    else:
        entry = table_of(p.container).add(p.argv, shell.signal)
        shell.pid = entry.pid
    try:
        if command:
            if not args:
                raise UsageError("-c requires an argument", 2)
            shell.name, shell.positional = (args[1] if len(args) > 1 else name), args[2:]
            return await shell.run(args[0])
        if args and "s" not in options:
            try:
                text = p.view.read(args[0]).decode("utf-8", "surrogateescape")
            except OSError as error:
                await p.err(f"{name}: can't open '{args[0]}': {error.strerror}\n")
                return 2
            shell.name, shell.positional = args[0], args[1:]
            return await shell.run(text)
        shell.positional = args
        return await converse(shell, outer.terminal if p.tty or interactive else None)
    finally:
        if entry is not None:
            table_of(p.container).remove(entry)
        await shell.end_jobs()


async def _busybox(p: Process) -> int:
    if not p.args:
        from minikube_py.images.shell.tools import NAMES

        await p.out("BusyBox v1.36.1 (minikube-py's built-in tools)\n\nCurrently defined functions:\n\t")
        await p.out(", ".join(sorted(NAMES)) + "\n")
        return 0
    return await p.call(p.args)


async def _env(p: Process) -> int:
    options = read_options(p.args, "iu:0", {"ignore-environment": "i", "unset=": "u"}, stop=True, code=125)
    env = {} if "i" in options else dict(p.env)
    for name in options.all("u"):
        env.pop(name, None)
    rest = options.rest
    while rest and "=" in rest[0]:
        name, _, value = rest.pop(0).partition("=")
        env[name] = value
    if rest:
        return await p.call(rest, env=env)
    end = "\0" if "0" in options else "\n"
    for name, value in env.items():
        await p.out(f"{name}={value}{end}")
    return 0


async def _printenv(p: Process) -> int:
    if not p.args:
        return await _env(p)
    status = 0
    for name in p.args:
        if name in p.env:
            await p.out(f"{p.env[name]}\n")
        else:
            status = 1
    return status


async def _xargs(p: Process) -> int:
    options = read_options(p.args, "n:I:L:P:r0td:s:", {"no-run-if-empty": "r", "null": "0"}, stop=True)
    command = options.rest or ["echo"]
    text = (await p.stdin.rest()).decode("utf-8", "surrogateescape")
    if "I" in options:
        mark = options.get("I")
        calls = [[word.replace(mark, line.strip()) for word in command] for line in text.splitlines() if line.strip()]
    else:
        if "0" in options:
            items = [item for item in text.split("\0") if item]
        elif "d" in options:
            items = text.rstrip("\n").split(options.get("d").replace("\\n", "\n"))
        elif "L" in options:
            items = [line for line in text.splitlines() if line.strip()]
        else:
            from minikube_py.images.shell.syntax import ShellSyntaxError
            from minikube_py.images.shell.words import parse_word, split_words

            try:
                items = ["".join(getattr(x, "text", "") for x in parse_word(w).parts) for w in split_words(text)]
            except ShellSyntaxError:
                raise UsageError("unmatched quote") from None
        size = int(options.number("n", options.number("L", 0))) or max(len(items), 1)
        groups = [items[i : i + size] for i in range(0, len(items), size)] or ([] if "r" in options else [[]])
        calls = [[*command, *group] for group in groups]
    from minikube_py.images.shell.streams import EMPTY

    limit = asyncio.Semaphore(max(int(options.number("P", 1)), 1))

    async def one(call: list[str]) -> int:
        async with limit:
            if "t" in options:
                await p.err(" ".join(call) + "\n")
            return await p.call(call, stdin=EMPTY)

    codes = []
    if int(options.number("P", 1)) > 1:
        codes = list(await asyncio.gather(*map(one, calls)))
    else:
        for call in calls:
            codes.append(await one(call))
            if codes[-1] in (255, 126, 127):
                break
    bad = [code for code in codes if code]
    return (bad[0] if bad[0] in (126, 127) else 123) if bad else 0


async def _time(p: Process) -> int:
    args = [arg for arg in p.args if arg not in ("-p", "-v")]
    started = time.monotonic()
    code = await p.call(args) if args else 0
    elapsed = time.monotonic() - started
    await p.err(f"real\t{int(elapsed // 60)}m {elapsed % 60:.2f}s\nuser\t0m 0.00s\nsys\t0m 0.00s\n")
    return code


async def _timeout(p: Process) -> int:
    options = read_options(p.args, "s:k:t:", {"signal=": "s", "kill-after=": "k"}, stop=True)
    rest = options.rest
    limit = options.get("t") or (rest.pop(0) if rest else "")
    if not rest or not limit:
        raise UsageError("usage: timeout [-s SIG] SECS PROG ARGS")
    try:
        async with asyncio.timeout(seconds(limit) or None):
            return await p.call(rest)
    except TimeoutError:
        return 143 if "busybox" in p.container.image else 124


async def _run_it(p: Process) -> int:
    """nohup, nice: run the rest."""
    args = p.args
    while args and args[0].startswith("-"):
        args = args[2:] if args[0] == "-n" else args[1:]
    return await p.call(args) if args else 0


async def _ps(p: Process) -> int:
    table = table_of(p.container)
    wide = "aux" in p.args or "-ef" in p.args
    await p.out("PID   USER     TIME  COMMAND\n")
    for entry in sorted(table.running.values(), key=lambda one: one.pid):
        minutes, rest = divmod(int(time.time() - entry.started) if wide else 0, 60)
        await p.out(f"{entry.pid:5d} root      {minutes:d}:{rest:02d} {' '.join(entry.argv)}\n")
    await p.out(f"{table.pid():5d} root      0:00 {' '.join(p.argv)}\n")
    return 0


async def _pidof(p: Process) -> int:
    names = [arg for arg in p.args if not arg.startswith("-")]
    pids = [
        str(entry.pid)
        for entry in table_of(p.container).running.values()
        if entry.argv
        and any(
            name in (entry.argv[0].rpartition("/")[2] if p.name == "pidof" else " ".join(entry.argv)) for name in names
        )
    ]
    if pids:
        await p.out((" " if p.name == "pidof" else "\n").join(pids) + "\n")
    else:
        p.view.missing.add(f"{NOT_SAID}process {' '.join(names)}")
    return int(not pids)


async def _kill(p: Process) -> int:
    from minikube_py.images.shell.builtins import BUILTINS

    if p.name == "kill":
        return await BUILTINS["kill"](p)
    names = [arg for arg in p.args if not arg.startswith("-")]
    flags = [arg for arg in p.args if arg.startswith("-") and arg != "-f"]
    pids = [
        str(entry.pid)
        for entry in table_of(p.container).running.values()
        if any(name in " ".join(entry.argv) for name in names)
    ]
    if not pids:
        p.view.missing.add(f"{NOT_SAID}process {' '.join(names)}")
        return 1
    p.argv = ["kill", *flags, *pids]
    return await BUILTINS["kill"](p)


async def _id(p: Process) -> int:
    flags = "".join(arg[1:] for arg in p.args if arg.startswith("-"))
    if "n" in flags:
        await p.out("root\n")
    elif "u" in flags or "g" in flags or "G" in flags:
        await p.out("0\n")
    else:
        await p.out("uid=0(root) gid=0(root) groups=0(root)\n")
    return 0


async def _whoami(p: Process) -> int:
    await p.out("root\n")
    return 0


async def _uname(p: Process) -> int:
    machine = os.uname()
    parts = {
        "s": "Linux",
        "n": p.container.pod.hostname,
        "r": machine.release,
        "v": machine.version,
        "m": machine.machine,
        "o": "Linux",
    }
    flags = "".join(arg[1:] for arg in p.args if arg.startswith("-")) or "s"
    if p.name == "arch":
        flags = "m"
    chosen = parts if "a" in flags else {key: value for key, value in parts.items() if key in flags}
    await p.out(" ".join(chosen.values()) + "\n")
    return 0


async def _hostname(p: Process) -> int:
    pod = p.container.pod
    flags = "".join(arg[1:] for arg in p.args if arg.startswith("-"))
    if any(not arg.startswith("-") for arg in p.args):
        return await p.fail("sethostname: Operation not permitted")
    full = pod.hostname
    for line in p.view.read("/etc/hosts").decode("utf-8", "replace").splitlines():
        words = line.split("#")[0].split()
        if words[:1] == [pod.ip] and len(words) > 1:
            full = words[1]
    if "i" in flags or "I" in flags:
        await p.out(f"{pod.ip}\n" if "i" in flags else f"{pod.ip} \n")
    elif "f" in flags:
        await p.out(f"{full}\n")
    elif "d" in flags:
        await p.out(f"{full.partition('.')[2]}\n" if "." in full else "")
    else:
        await p.out(f"{pod.hostname.partition('.')[0] if 's' in flags else pod.hostname}\n")
    return 0


async def _nproc(p: Process) -> int:
    await p.out(f"{os.cpu_count() or 1}\n")
    return 0


async def _uptime(p: Process) -> int:
    up = int(float(p.view.read("/proc/uptime").split()[0]))
    hours, minutes = up // 3600, up % 3600 // 60
    span = f"{hours}:{minutes:02d}" if hours else f"{minutes} min"
    await p.out(f" {time.strftime('%H:%M:%S', time.gmtime())} up {span},  0 users,  load average: 0.00, 0.00, 0.00\n")
    return 0


async def _free(p: Process) -> int:
    total, used = 8 << 20, p.view.files.used >> 10
    if "-m" in p.args:
        total, used = total >> 10, used >> 10
    await p.out("              total        used        free      shared  buff/cache   available\n")
    await p.out(f"Mem:    {total:11d} {used:11d} {total - used:11d}           0           0 {total - used:11d}\n")
    return 0


async def _tty(p: Process) -> int:
    await p.out("/dev/pts/0\n" if p.tty else "not a tty\n")
    return int(not p.tty)


async def _stty(p: Process) -> int:
    """Tell the size of the terminal; settings are accepted and forgotten."""
    if not p.tty:
        return await p.fail("standard input: Not a tty")
    window = WINDOW.get() or p.container.extra.get("window")
    size = await window.size() if window is not None else None
    rows, columns = (size.height, size.width) if size is not None else (24, 80)
    match p.args:
        case ["size"]:
            await p.out(f"{rows} {columns}\n")
        case ["-a"]:
            await p.out(f"speed 38400 baud; rows {rows}; columns {columns}; line = 0;\n")
        case []:
            await p.out("speed 38400 baud; line = 0;\n")
    return 0


async def _nothing(p: Process) -> int:
    return 0


async def _su(p: Process) -> int:
    args = p.args
    if "-c" in args:
        return await p.call(["sh", "-c", args[args.index("-c") + 1]])
    return await p.call(["sh"])


TOOLS: dict[str, Tool] = {
    "sh": _sh,
    "bash": _sh,
    "ash": _sh,
    "busybox": _busybox,
    "env": _env,
    "printenv": _printenv,
    "xargs": _xargs,
    "time": _time,
    "timeout": _timeout,
    "nohup": _run_it,
    "nice": _run_it,
    "ps": _ps,
    "top": _ps,
    "pidof": _pidof,
    "pgrep": _pidof,
    "pkill": _kill,
    "kill": _kill,
    "killall": _kill,
    "id": _id,
    "whoami": _whoami,
    "groups": _whoami,
    "uname": _uname,
    "arch": _uname,
    "hostname": _hostname,
    "nproc": _nproc,
    "uptime": _uptime,
    "free": _free,
    "tty": _tty,
    "stty": _stty,
    "sync": _nothing,
    "su": _su,
}
