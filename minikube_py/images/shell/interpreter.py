"""The shell: walks a script, keeps variables and descriptors, runs builtins, functions and tools.

Stands for busybox' ash (`sh`), with what bash adds when it is called as bash. Nothing of it is a process of this
machine: pipelines are tasks, descriptors are `streams`, files are the container's.

Leaves out: job control (fg, bg, ^Z), aliases, arrays, `umask`'s effect.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from minikube_py.images.container import Container
from minikube_py.images.shell import builtins, patterns, tools
from minikube_py.images.shell.arithmetic import ArithmeticSyntaxError, evaluate
from minikube_py.images.shell.conditions import NUMERIC, ConditionError, binary, is_unary, unary
from minikube_py.images.shell.control import Break, Continue, Exit, Return
from minikube_py.images.shell.expansion import Expander, ExpansionError
from minikube_py.images.shell.files import View
from minikube_py.images.shell.grammar import parse
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of
from minikube_py.images.shell.streams import EMPTY, NULL, Bytes, Collected, Pipe, Sink, Source
from minikube_py.images.shell.syntax import (
    AndOr,
    ArithmeticCommand,
    Case,
    CFor,
    Command,
    Condition,
    For,
    Function,
    Group,
    If,
    Pipeline,
    Redirect,
    Script,
    ShellSyntaxError,
    Simple,
    While,
    Word,
)

if TYPE_CHECKING:
    from minikube_py.images.shell.terminal import Terminal

__all__ = ["Shell"]

Descriptors = dict[int, Source | Sink]

_BIN = re.compile(r"(/usr/local|/usr)?/s?bin/([^/]+)")


class Shell:
    """One shell: its variables, functions, options and descriptors; `child()` is what `( … )` makes."""

    def __init__(
        self,
        container: Container,
        view: View,
        descriptors: Descriptors,
        *,
        variables: MutableMapping[str, str] | None = None,
        name: str = "sh",
        tty: bool = False,
    ) -> None:
        self.container = container
        self.view = view
        self.descriptors = descriptors
        self.variables: dict[str, str] = dict(container.env if variables is None else variables)
        self.exported: set[str] = set(self.variables)
        self.variables.setdefault("PWD", view.cwd)
        self.variables.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        self.variables.setdefault("HOME", "/root")
        self.exported |= {"PATH", "PWD", "HOME"}
        self.read_only: set[str] = set()
        self.functions: dict[str, Command] = {}
        self.positional: list[str] = []
        self.name = name
        self.bash = name.rpartition("/")[2] == "bash"
        self.tty = tty
        self.options: set[str] = set()
        self.status = 0
        self.traps: dict[str, str] = {}
        self.pending: list[str] = []
        self.signalled = asyncio.Event()
        self.jobs: dict[int, asyncio.Task[int]] = {}
        self.last_job = 0
        self.locals: list[dict[str, str | None]] = []
        self.pid = 0
        self.is_root = False
        """It only stands for the container runtime: what it runs is the session's first process."""
        self.main: Shell | None = None
        """Of the root: the shell that is the session's first process."""
        self.terminal: Terminal | None = None
        self.depth = 0
        """Of functions and sourced files."""
        self._tested = 0
        self._substituted: int | None = None
        self._expand = Expander(self)

    def child(self) -> "Shell":
        """Return a copy whose changes this shell doesn't see: a subshell, a pipeline's part."""
        made = Shell(self.container, self.view.copy(), dict(self.descriptors), variables=self.variables, name=self.name)
        made.exported = set(self.exported)
        made.read_only = set(self.read_only)
        made.functions = dict(self.functions)
        made.positional = list(self.positional)
        made.options = set(self.options)
        made.status = self.status
        made.pid, made.last_job, made.depth = self.pid, self.last_job, self.depth
        made.tty = self.tty
        made._tested = self._tested
        made.locals = [{}] if self.locals else []
        return made

    # Variables

    def parameter(self, name: str) -> str | None:
        """Return the value of `$name`; None if unset."""
        match name:
            case "?":
                return str(self.status)
            case "#":
                return str(len(self.positional))
            case "$":
                return str(self.pid)
            case "!":
                return str(self.last_job) if self.last_job else None
            case "-":
                return "".join(sorted(self.options))
            case "0":
                return self.name
            case "@" | "*":
                return " ".join(self.positional)
            case "RANDOM" if "RANDOM" not in self.variables:
                import random

                return str(random.randrange(32768))
            case "PPID":
                return "0"
        if name.isdigit():
            index = int(name) - 1
            return self.positional[index] if index < len(self.positional) else None
        return self.variables.get(name)

    def assign(self, name: str, value: str) -> None:
        """Set a variable; ExpansionError for a read-only one."""
        if name in self.read_only:
            raise ExpansionError(f"{name}: is read only")
        self.variables[name] = value
        if "a" in self.options:
            self.exported.add(name)

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in self.variables.items() if name in self.exported}

    # Streams

    @property
    def stdin(self) -> Source:
        found = self.descriptors.get(0)
        return found if isinstance(found, Source) else EMPTY

    def _sink(self, number: int) -> Sink:
        found = self.descriptors.get(number)
        return NULL if found is None or isinstance(found, Source) else found

    async def complain(self, message: str) -> None:
        """Write `sh: message` to stderr."""
        try:
            await self._sink(2).write(f"{self.name}: {message}\n".encode("utf-8", "surrogateescape"))
        except BrokenPipeError:
            pass

    # Scripts

    async def run(self, text: str) -> int:
        """Run a script as the whole shell: to its end, an `exit` or an error; return the exit code."""
        try:
            await self.evaluate(text)
        except Exit as end:
            self.status = end.code
        except (Return, Break, Continue):
            pass
        return await self.finish()

    async def finish(self) -> int:
        """Run the EXIT trap; return the exit code."""
        action = self.traps.pop("EXIT", "")
        if action:
            status = self.status
            try:
                await self.evaluate(action)
                self.status = status
            except Exit as end:
                self.status = end.code
        return self.status

    async def evaluate(self, text: str) -> int:
        """Run a script in this shell.

        Error handling: what ends the shell is raised as `Exit`, its message already told.
        """
        try:
            script = parse(text)
        except ShellSyntaxError as error:
            await self.complain(str(error))
            raise Exit(2) from None
        return await self.script(script)

    async def script(self, script: Script) -> int:
        for item in script.items:
            if self.pending:
                await self.handle_signals()
            if item.background:
                self._background(item.command)
                self.status = 0
            else:
                await self.command(item.command)
        return self.status

    async def handle_signals(self) -> None:
        """Run the traps of signals that came."""
        while self.pending:
            signal = self.pending.pop(0)
            self.signalled.clear()
            if action := self.traps.get(signal):
                status = self.status
                await self.evaluate(action)
                self.status = status

    def signal(self, name: str) -> bool:
        """Take a signal: True if a trap will handle (or ignores) it."""
        if name not in self.traps:
            return False
        if self.traps[name]:
            self.pending.append(name)
            self.signalled.set()
        return True

    def _background(self, command: Command) -> None:
        shell = self.child()
        shell.descriptors[0] = EMPTY
        entry = table_of(self.container).add(
            (self.name, "-c", "…") if not isinstance(command, Simple) else _argv(command)
        )
        shell.pid = entry.pid

        async def job() -> int:
            try:
                return await shell.isolated(command)
            finally:
                table_of(self.container).remove(entry)

        task = asyncio.ensure_future(job())
        entry.task = task
        self.jobs[entry.pid] = task
        self.last_job = entry.pid

    async def isolated(self, command: Command) -> int:
        """Run a command as a subshell's whole content; end its jobs with it."""
        try:
            await self.command(command)
        except Exit as end:
            self.status = end.code
        except (Return, Break, Continue):
            pass
        except BrokenPipeError:
            return 141
        finally:
            if self.jobs:
                await self.wait_jobs()
        return await self.finish()

    async def wait_jobs(self) -> None:
        """Wait for the shell's own background jobs; cancel them if this is cancelled."""
        tasks = [task for task in self.jobs.values() if not task.done()]
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            await self.end_jobs()
            raise

    async def end_jobs(self) -> None:
        """End the background jobs."""
        tasks = [task for task in self.jobs.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Commands

    async def command(self, command: Command) -> int:
        """Run one command; leave its exit code in `status`."""
        match command:
            case Simple():
                await self._guarded(self._simple(command))
                self._errexit()
            case Pipeline(commands, negated):
                await self._pipeline(commands, negated)
            case AndOr(left, op, right):
                self._tested += 1
                try:
                    await self.command(left)
                finally:
                    self._tested -= 1
                if (self.status == 0) == (op == "&&"):
                    await self.command(right)
            case Group(body, subshell, redirects):
                await self._group(body, subshell, redirects)
            case If():
                await self._if(command)
            case For() | CFor() | While():
                await self._guarded(self._loop(command))
            case Case():
                await self._guarded(self._case(command))
            case Function(name, body):
                self.functions[name] = body
                self.status = 0
            case Condition(tokens):
                await self._guarded(self._condition(tokens))
                self._errexit()
            case ArithmeticCommand(expression):
                await self._guarded(self._arithmetic(expression))
                self._errexit()
        return self.status

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Turn what goes wrong in expansions into the shell's end, as ash does."""
        try:
            await work
        except (ExpansionError, ArithmeticSyntaxError) as error:
            await self.complain(str(error))
            raise Exit(2) from None

    def _errexit(self) -> None:
        if self.status and "e" in self.options and not self._tested:
            raise Exit(self.status)

    async def _tested_script(self, script: Script) -> bool:
        self._tested += 1
        try:
            return await self.script(script) == 0
        finally:
            self._tested -= 1

    async def _if(self, command: If) -> None:
        for condition, body in command.branches:
            if await self._tested_script(condition):
                await self.script(body)
                return
        self.status = 0
        if command.otherwise is not None:
            await self.script(command.otherwise)

    async def _pipeline(self, commands: tuple[Command, ...], negated: bool) -> None:
        if negated:
            self._tested += 1
        try:
            if len(commands) == 1:
                await self.command(commands[0])
            else:
                self.status = await self._piped(commands)
        finally:
            if negated:
                self._tested -= 1
        if negated:
            self.status = int(not self.status)
        elif len(commands) > 1:
            self._errexit()

    async def _piped(self, commands: tuple[Command, ...]) -> int:
        tasks: list[asyncio.Task[int]] = []
        source: Source | None = None
        for number, command in enumerate(commands):
            shell = self.child()
            if source is not None:
                shell.descriptors[0] = source
            pipe = Pipe() if number < len(commands) - 1 else None
            if pipe is not None:
                shell.descriptors[1] = pipe.sink
            tasks.append(asyncio.ensure_future(_stage(shell, command, source, pipe)))
            source = pipe
        codes = await _together(tasks)
        failed = [code for code in codes if code]
        return (failed[-1] if failed else 0) if "pipefail" in self.options else codes[-1]

    async def _group(self, body: Script, subshell: bool, redirects: tuple[Redirect, ...]) -> None:
        saved = self.descriptors
        opened = await self._redirected(redirects)
        if opened is None:
            self.status = 1
            return
        try:
            if subshell:
                shell = self.child()
                shell.descriptors = opened
                self.status = await shell.isolated(Group(body))
                self._errexit()
            else:
                self.descriptors = opened
                await self.script(body)
        finally:
            self.descriptors = saved

    async def _turn(self) -> None:
        """Let others run: a loop that never waits would stop the whole cluster."""
        await asyncio.sleep(0)
        if self.pending:
            await self.handle_signals()

    async def _loop(self, command: For | CFor | While) -> None:
        status = 0
        async for _ in self._rounds(command):
            try:
                status = await self.script(command.body)
            except Break as stop:
                if stop.levels > 1:
                    raise Break(stop.levels - 1) from None
                status = 0
                break
            except Continue as stop:
                if stop.levels > 1:
                    raise Continue(stop.levels - 1) from None
                status = 0
            await self._turn()
        self.status = status

    async def _rounds(self, command: For | CFor | While) -> Any:
        match command:
            case For(name, words):
                for value in list(self.positional) if words is None else await self._expand.fields(words):
                    self.assign(name, value)
                    yield
            case While(condition, _, until):
                while await self._tested_script(condition) != until:
                    yield
                    await self._turn()
            case CFor(start, condition, step):
                await self._expand.arithmetic(start)
                while not condition.parts or await self._expand.arithmetic(condition):
                    yield
                    await self._expand.arithmetic(step)

    async def _case(self, command: Case) -> None:
        subject = await self._expand.text(command.word)
        self.status = 0
        falling = False
        for choices, body, ending in command.branches:
            hit = falling
            for choice in choices:
                hit = hit or patterns.matches(await self._expand.segments(choice), subject)
            if not hit:
                continue
            await self.script(body)
            if ending == ";;":
                return
            falling = ending == ";&"

    async def _arithmetic(self, expression: Word) -> None:
        self.status = int(not await self._expand.arithmetic(expression))

    # Simple commands

    async def _simple(self, command: Simple) -> None:
        self._substituted = None
        argv = await self._expand_command(command)
        opened = await self._redirected(command.redirects)
        if opened is None:
            self.status = 1
            if argv and argv[0] in builtins.SPECIAL and not self.tty:
                raise Exit(2)
            return
        values: dict[str, str] = {}
        for assignment in command.assignments:
            value = await self._expand.text(assignment.value)
            if assignment.append:
                value = self.variables.get(assignment.name, "") + value
            if not argv:
                self.assign(assignment.name, value)
            values[assignment.name] = value
        if "x" in self.options and (argv or values):
            await self._trace(argv, values)
        if not argv:
            self.status = self._substituted or 0
            return
        await self._execute(argv, values, opened)

    async def _expand_command(self, command: Simple) -> list[str]:
        words = command.words
        if words and words[0].plain in builtins.DECLARATIONS:
            found = await self._expand.fields(words[:1])
            for word in words[1:]:
                first = word.parts[0] if word.parts else None
                if getattr(first, "quoted", True) or not re.match(r"[A-Za-z_]\w*\+?=", getattr(first, "text", "")):
                    found.extend(await self._expand.fields((word,)))
                else:
                    found.append(await self._expand.text(word))  # an assignment's value isn't split
            return found
        return await self._expand.fields(words)

    async def _trace(self, argv: Sequence[str], values: dict[str, str]) -> None:
        words = [*(f"{name}={_quoted(value)}" for name, value in values.items()), *map(_quoted, argv)]
        prefix = self.variables.get("PS4", "+ ")
        await self._sink(2).write(f"{prefix}{' '.join(words)}\n".encode("utf-8", "surrogateescape"))

    async def _execute(self, argv: list[str], values: dict[str, str], opened: Descriptors) -> None:
        name = argv[0]
        if name in self.functions:
            await self._call(self.functions[name], argv, values, opened)
            return
        builtin = builtins.BUILTINS.get(name)
        saved = self.descriptors
        self.descriptors = opened
        try:
            if builtin is not None:
                before = {key: self.variables.get(key) for key in values}
                self.variables.update(values)
                process = self._process(argv, self.view)
                try:
                    self.status = await self._quietly(builtin, process)
                finally:
                    if name not in builtins.SPECIAL:
                        for key, old in before.items():
                            if old is None:
                                self.variables.pop(key, None)
                            else:
                                self.variables[key] = old
                if name == "exec":
                    saved = self.descriptors
                return
            env = {**self.environment(), **values}
            self.status = await self.spawn(
                argv, self.stdin, self._sink(1), self._sink(2), env, self.view.copy(), found_by_shell=True
            )
        finally:
            self.descriptors = saved

    def _process(self, argv: Sequence[str], view: View) -> Process:
        return Process(list(argv), self.stdin, self._sink(1), self._sink(2), self.environment(), view, self, self.tty)

    async def _call(self, body: Command, argv: list[str], values: dict[str, str], opened: Descriptors) -> None:
        positional, saved = self.positional, self.descriptors
        self.positional, self.descriptors = argv[1:], opened
        self.locals.append({key: self.variables.get(key) for key in values})
        self.variables.update(values)
        self.depth += 1
        try:
            if self.depth > 200:
                raise ExpansionError("maximum function recursion depth (200) reached")
            await self.command(body)
        except Return as end:
            self.status = end.code
        finally:
            self.depth -= 1
            for name, old in self.locals.pop().items():
                if old is None:
                    self.variables.pop(name, None)
                else:
                    self.variables[name] = old
            self.positional, self.descriptors = positional, saved

    async def spawn(
        self,
        argv: Sequence[str],
        stdin: Source,
        stdout: Sink,
        stderr: Sink,
        env: dict[str, str],
        view: View,
        *,
        found_by_shell: bool = False,
    ) -> int:
        """Run a tool, or a script of the container's files, as a process of its own; return its exit code."""
        process = Process(list(argv), stdin, stdout, stderr, env, view, self, self.tty)
        tool = self.find(argv[0])
        if tool is not None:
            return await self._quietly(tool, process)
        who = f"{self.name}: " if found_by_shell else "can't execute "
        path = self.lookup(argv[0])
        if path is None:
            self.view.missing.add(argv[0])
            await process.err(
                f"{who}{argv[0]}: not found\n" if found_by_shell else f"{who}'{argv[0]}': No such file or directory\n"
            )
            return 127
        if self.view.is_dir(path) or not self.view.stat(path).mode & 0o111:
            await process.err(f"{who}{argv[0]}: Permission denied\n")
            return 126
        text = self.view.read(path).decode("utf-8", "surrogateescape")
        shell = Shell(
            self.container,
            view.copy(),
            {0: stdin, 1: stdout, 2: stderr},
            variables=env,
            name=argv[0],
        )
        shell.bash = text.startswith("#!") and "bash" in text.partition("\n")[0]
        shell.pid, shell.positional = table_of(self.container).pid(), list(argv[1:])
        first = text.partition("\n")[0]
        if first.startswith("#!") and not re.search(r"\b(ba|da|a|k|z)?sh\b", first):
            await process.err(f"{who}{argv[0]}: not found (its interpreter {first[2:].strip()} is not built in)\n")
            return 127
        try:
            return await shell.run(text)
        finally:
            await shell.end_jobs()

    def find(self, name: str) -> Tool | None:
        """Return the tool that a name or path means; a file of the container's that has the path goes first."""
        if "/" in name:
            match = _BIN.fullmatch(name)
            if match is None or self.view.exists(name):
                return None
            name = match[2]
        return tools.find(name)

    def lookup(self, name: str) -> str | None:
        """Return the path of a file that a command's name means."""
        if "/" in name:
            return name if self.view.find(name) is not None else None
        for folder in self.variables.get("PATH", "").split(":"):
            path = f"{folder.rstrip('/')}/{name}"
            found = self.view.files.stat if folder else None
            try:
                if found is not None and found(self.view.path(path)).is_file:
                    return path
            except OSError:
                continue
        return None

    async def _quietly(self, tool: Callable[[Process], Awaitable[int]], process: Process) -> int:
        """Run a tool; what it didn't catch becomes its message and exit code."""
        try:
            return await tool(process) & 0xFF
        except UsageError as error:
            await process.err(f"{process.name}: {error}\n")
            return error.code
        except BrokenPipeError:
            return 141
        except ConditionError as error:
            await process.err(f"{self.name}: {error}\n")
            return 2
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            await process.err(f"{process.name}: {what}{error.strerror or error}\n")
            return 1

    # `[[ ]]`

    async def _condition(self, tokens: tuple[Word | str, ...]) -> None:
        try:
            self.status = int(not await _Condition(self, tokens).whole())
        except ConditionError as error:
            await self.complain(str(error))
            self.status = 2

    # Substitutions and redirections

    async def substitute(self, text: str) -> str:
        """Run `$(text)`; return what it wrote, without the line ends at its end."""
        collected = Collected()
        shell = self.child()
        shell.descriptors[1] = collected
        shell._tested = 0
        try:
            script = parse(text)
        except ShellSyntaxError as error:
            raise ExpansionError(str(error)) from None
        self._substituted = self.status = await shell.isolated(Group(script))
        return collected.data.replace(b"\0", b"").decode("utf-8", "surrogateescape").rstrip("\n")

    async def _redirected(self, redirects: tuple[Redirect, ...]) -> Descriptors | None:
        """Return the descriptors with redirections; None, its message told, if one fails."""
        if not redirects:
            return self.descriptors
        opened = dict(self.descriptors)
        for redirect in redirects:
            target = await self._expand.text(redirect.target)
            try:
                self._open(opened, redirect.fd, redirect.op, target)
            except OSError as error:
                verb = "open" if redirect.op in ("<", "<&") else "create"
                reason = {2: "no such file" if verb == "open" else "nonexistent directory"}.get(error.errno or 0)
                text = (error.strerror or str(error)) if reason is None else reason
                if error.errno == 9:
                    await self.complain(f"{target}: bad file descriptor")
                else:
                    await self.complain(f"can't {verb} {target}: {text}")
                return None
        return opened

    def _open(self, opened: Descriptors, fd: int, op: str, target: str) -> None:
        match op:
            case "<<":
                opened[fd] = Bytes(target.encode("utf-8", "surrogateescape"))
            case "<<<":
                opened[fd] = Bytes(f"{target}\n".encode("utf-8", "surrogateescape"))
            case "<" | "<>":
                device = {"/dev/stdin": 0, "/proc/self/fd/0": 0}.get(target)
                opened[fd] = opened.get(device, EMPTY) if device is not None else self.view.source(target)
            case ">&" | "<&" if target == "-":
                opened.pop(fd, None)
            case ">&" | "<&" if target.isdigit():
                if int(target) not in opened:
                    raise OSError(9, "Bad file descriptor")
                opened[fd] = opened[int(target)]
            case "&>" | "&>>" | ">&":
                opened[1] = opened[2] = self._writing(opened, target, append=op == "&>>")
            case _:
                if op == ">" and "C" in self.options and self.view.find(target) is not None:
                    raise OSError(17, "File exists")
                opened[fd] = self._writing(opened, target, append=op == ">>")

    def _writing(self, opened: Descriptors, target: str, *, append: bool) -> Sink:
        number = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}.get(target)
        if number is None and target in ("/proc/1/fd/1", "/proc/1/fd/2"):
            from minikube_py.images.shell.streams import Called

            return Called(lambda data: self.container.write(data.decode("utf-8", "replace")))
        if number is not None:
            found = opened.get(number)
            return NULL if found is None or isinstance(found, Source) else found
        return self.view.sink(target, append=append)


async def _stage(shell: Shell, command: Command, source: Source | None, pipe: Pipe | None) -> int:
    """Run one part of a pipeline; its ends are closed when it is done."""
    try:
        return await shell.isolated(command)
    finally:
        if source is not None:
            source.close()
        if pipe is not None:
            pipe.end()


async def _together(tasks: "Sequence[asyncio.Task[int]]") -> list[int]:
    """Wait for all; if this is cancelled or one fails, so are they."""
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)


def _quoted(text: str) -> str:
    if text and re.fullmatch(r"[\w@%+=:,./\[\]-]+", text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _argv(command: Simple) -> tuple[str, ...]:
    return tuple(
        "".join(getattr(part, "text", f"${getattr(part, 'name', '')}") for part in w.parts) for w in command.words
    )


class _Condition:
    """Judges `[[ … ]]`: precedence of !, &&, ||; no splitting; patterns on the right of ==."""

    def __init__(self, shell: Shell, tokens: tuple[Word | str, ...]) -> None:
        self._shell = shell
        self._tokens = tokens
        self._at = 0

    def _peek(self, ahead: int = 0) -> Word | str | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    async def whole(self) -> bool:
        value = await self._or(True)
        if self._at < len(self._tokens):
            raise ConditionError("syntax error in conditional expression")
        return value

    async def _or(self, live: bool) -> bool:
        value = await self._and(live)
        while self._peek() == "||":
            self._at += 1
            value = await self._and(live and not value) or value
        return value

    async def _and(self, live: bool) -> bool:
        value = await self._not(live)
        while self._peek() == "&&":
            self._at += 1
            value = await self._not(live and value) and value
        return value

    async def _not(self, live: bool) -> bool:
        if self._peek() == "!":
            self._at += 1
            return not await self._not(live)
        if self._peek() == "(":
            self._at += 1
            value = await self._or(live)
            if self._peek() != ")":
                raise ConditionError("syntax error in conditional expression: expected ')'")
            self._at += 1
            return value
        return await self._primary(live)

    async def _primary(self, live: bool) -> bool:
        expand = self._shell._expand
        words: list[Word | str] = []
        while (token := self._peek()) is not None and token not in ("&&", "||", ")"):
            words.append(token)
            self._at += 1
        if not live:
            return False
        match words:
            case [Word() as word]:
                return bool(await expand.text(word))
            case [Word() as op, Word() as word] if op.plain is not None and is_unary(op.plain):
                is_set = self._shell.parameter
                return unary(
                    op.plain,
                    await expand.text(word),
                    self._shell.view,
                    tty=self._shell.tty,
                    is_set=lambda name: is_set(name) is not None,
                )
            case [Word() as left, op, Word() as right]:
                name = op if isinstance(op, str) else (op.plain or "")
                text = await expand.text(left)
                if name in ("=", "==", "!="):
                    return patterns.matches(await expand.segments(right), text) == (name != "!=")
                if name == "=~":
                    source = "".join(
                        re.escape(part) if quoted else part for part, quoted in await expand.segments(right)
                    )
                    return re.search(source, text) is not None
                other = await expand.text(right)
                if name in NUMERIC:  # bash: both sides are arithmetic
                    variables = self._shell.variables
                    text, other = str(evaluate(text, variables)), str(evaluate(other, variables))
                return binary(text, name, other, self._shell.view)
        raise ConditionError("syntax error in conditional expression")
