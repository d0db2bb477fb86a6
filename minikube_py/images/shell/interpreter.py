"""The shell: runs scripts, keeps jobs and traps, and hands each command to the module of its kind.

    compound        pipelines, groups, if, loops, case
    simple          name and arguments: functions, builtins, programs
    double_bracket  [[ … ]]
    redirection     > < >& <<
    programs        tools and scripts as processes
    state           variables, options, descriptors

Stands for busybox' ash (`sh`), with what bash adds when it is called as bash. Nothing of it is a process of this
machine: pipelines are tasks, descriptors are `streams`, files are the container's.

Leaves out: job control (fg, bg, ^Z), aliases, `umask`'s effect.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import cached_property
from typing import Any

from minikube_py.images.shell import compound, double_bracket, programs, simple
from minikube_py.images.shell.arithmetic import ArithmeticSyntaxError
from minikube_py.images.shell.control import Break, Continue, Exit, Return
from minikube_py.images.shell.expansion import Expander, ExpansionError, ReadOnlyError
from minikube_py.images.shell.grammar import parse
from minikube_py.images.shell.process import Tool, table_of
from minikube_py.images.shell.state import State
from minikube_py.images.shell.streams import EMPTY, Collected, Pipe, Sink, Source
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
    Item,
    Literal,
    Pipeline,
    Redirect,
    Script,
    ShellSyntaxError,
    Simple,
    While,
    Word,
)
from minikube_py.images.shell.view import View

__all__ = ["Shell"]

_CAT = Word((Literal("cat"),))


class Shell(State):
    """One shell, which runs what it is given; `child()` is what `( … )` makes."""

    @cached_property
    def expand(self) -> Expander:
        return Expander(self)

    def child(self) -> "Shell":
        """Return a copy whose changes this shell doesn't see: a subshell, a pipeline's part."""
        made = Shell(self.container, self.view.copy(), dict(self.descriptors), variables=self.variables, name=self.name)
        made.main_session = self.main_session
        made.bash, made.started, made.shopt = self.bash, self.started, set(self.shopt)
        made.exported = set(self.exported)
        made.arrays = {name: array.copy() for name, array in self.arrays.items()}
        made.targets, made.integers = dict(self.targets), set(self.integers)
        made.pipe_status = self.pipe_status
        made.read_only = set(self.read_only)
        made.functions = dict(self.functions)
        made.positional = list(self.positional)
        made.options = set(self.options)
        made.status = self.status
        made.pid, made.last_job, made.depth = self.pid, self.last_job, self.depth
        made.own_pid = table_of(self.container).pid()
        made.tty, made.calls = self.tty, list(self.calls)
        made.tested = self.tested
        made.locals = [{}] if self.locals else []
        return made

    # Scripts

    async def run(self, text: str) -> int:
        """Run a script as the whole shell: to its end, an `exit` or an error; return the exit code."""
        try:
            await self.evaluate(text)
        except Exit as end:
            self.status = end.code
        except (Return, Break, Continue):
            pass
        except RecursionError:
            await self._overflow()
        return await self.finish()

    async def _overflow(self) -> None:
        """End as a process does whose stack is full: sh has no limit of its own to recursion, the kernel has."""
        self.status = 139
        await self.complain("recursion too deep: Segmentation fault")

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
            script = parse(text, bash=self.bash)
        except ShellSyntaxError as error:
            await self.complain(str(error))
            raise Exit(2) from None
        return await self.script(script)

    async def script(self, script: Script) -> int:
        for item in script.items:
            if self.pending:
                await self.handle_signals()
            if item.background:
                await self._background(item.command)
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

    async def _background(self, command: Command) -> None:
        await self.check_fork()
        shell = self.child()
        shell.descriptors[0] = EMPTY
        entry = table_of(self.container).add(
            (self.name, "-c", "…") if not isinstance(command, Simple) else simple.argv_of(command)
        )
        shell.own_pid = entry.pid

        async def job() -> int:
            try:
                return await shell.isolated(command, heir=self)
            finally:
                table_of(self.container).remove(entry)

        task = asyncio.ensure_future(job())
        entry.task = task
        table_of(self.container).fork(task)
        self.jobs[entry.pid] = task
        self.last_job = entry.pid

    async def check_fork(self) -> None:
        """End the shell, as ash does, if the container has too many subshells already."""
        if table_of(self.container).full:
            await self.complain("can't fork: Resource temporarily unavailable")
            raise Exit(2)

    async def isolated(self, command: Command, *, heir: "Shell | None" = None) -> int:
        """Run a command as a subshell's whole content.

        Args:
            heir: gets the background jobs that still run then, as `( … )` leaves them running. Without one, the end
                waits for them: they hold the pipe that somebody reads.
        """
        try:
            try:
                await self.command(command)
            except (Exit, Return) as end:
                self.status = end.code
            except (Break, Continue):
                pass
            except BrokenPipeError:
                self.status = 141
            except RecursionError:
                await self._overflow()
            if heir is not None:
                heir.orphans |= self._living()
            else:
                await asyncio.gather(*self._living(), return_exceptions=True)
            code = await self.finish()
            self.hang_up()
            return code
        except BaseException:
            await self.end_jobs()
            raise

    def close_opened(self, first: int) -> None:
        """Close the pipes and connections opened since the `first`, save those that `exec` made descriptors."""
        held = {id(stream) for stream in self.descriptors.values()}
        kept = [one for one in self.opened[first:] if id(one) in held]
        for one in self.opened[first:]:
            if id(one) not in held:
                one.hang_up()
        self.opened[first:] = kept

    def hang_up(self) -> None:
        """Close all pipes and connections that this shell opened."""
        for one in self.opened:
            one.hang_up()
        self.opened.clear()

    def _living(self) -> set["asyncio.Task[int]"]:
        return {task for task in (*self.jobs.values(), *self.orphans) if not task.done()}

    async def end_jobs(self) -> None:
        """End the background jobs, and those that subshells left behind."""
        self.hang_up()
        tasks = self._living()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Commands

    async def command(self, command: Command) -> int:
        """Run one command; leave its exit code in `status`; what it opened for itself is closed."""
        before = len(self.opened)
        try:
            return await self._command(command)
        finally:
            if len(self.opened) > before:
                self.close_opened(before)

    async def _command(self, command: Command) -> int:
        match command:
            case Simple():
                await self._guarded(simple.run(self, command))
                self.pipe_status = [self.status]
                await self.failed()
            case Pipeline(commands, negated):
                await compound.pipeline(self, commands, negated)
            case AndOr(left, op, right):
                self.tested += 1
                try:
                    await self.command(left)
                finally:
                    self.tested -= 1
                if (self.status == 0) == (op == "&&"):
                    await self.command(right)
            case Group(body, subshell, redirects):
                await compound.group(self, body, subshell, redirects)
            case If():
                await compound.branch(self, command)
            case For() | CFor() | While():
                await self._guarded(compound.loop(self, command))
            case Case():
                await self._guarded(compound.case(self, command))
            case Function(name, body):
                self.functions[name] = body
                self.status = 0
            case Condition(tokens):
                await self._guarded(self._condition(tokens))
                await self.failed()
            case ArithmeticCommand(expression):
                await self._guarded(self._arithmetic(expression))
                await self.failed()
        return self.status

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Turn what goes wrong in expansions into the shell's end, as ash does."""
        try:
            await work
        except (ExpansionError, ArithmeticSyntaxError) as error:
            await self.complain(str(error))
            raise Exit(2 if not self.bash else 1 if isinstance(error, ReadOnlyError) else 127) from None

    async def failed(self) -> None:
        """Where a command's failure is nobody's condition: run the ERR trap, end the shell under `set -e`."""
        if not self.status or self.tested:
            return
        action = self.traps.get("ERR")
        if action and (not self.depth or "E" in self.options):
            status = self.status
            del self.traps["ERR"]  # a failure in the trap is none of its business
            await self.evaluate(action)
            self.traps["ERR"] = action
            self.status = status
        if "e" in self.options:
            raise Exit(self.status)

    def piped(self, text: str, *, writes: bool) -> str:
        """Start `<(text)` or `>(text)`; return the name of its pipe.

        Error handling: ExpansionError for what is no script.
        """
        try:
            script = parse(text, bash=self.bash)
        except ShellSyntaxError as error:
            raise ExpansionError(str(error)) from None
        shell, pipe = self.child(), Pipe()
        if writes:
            shell.descriptors[0] = pipe
        else:
            shell.descriptors[1] = pipe.sink

        async def job() -> int:
            try:
                return await shell.isolated(Group(script))
            finally:
                pipe.close() if writes else pipe.end()

        task = asyncio.ensure_future(job())
        table_of(self.container).fork(task)
        self.orphans.add(task)
        self.opened.append(pipe)
        return self.view.pipe(pipe.sink if writes else pipe)

    async def tested_script(self, script: Script) -> bool:
        self.tested += 1
        try:
            return await self.script(script) == 0
        finally:
            self.tested -= 1

    async def turn(self) -> None:
        """Let others run: a loop that never waits would stop the whole cluster."""
        await asyncio.sleep(0)
        if self.pending:
            await self.handle_signals()

    async def _condition(self, tokens: tuple[Word | str, ...]) -> None:
        self.status = await double_bracket.judge(self, tokens)

    async def _arithmetic(self, expression: Word) -> None:
        self.status = int(not await self.expand.arithmetic(expression))

    async def substitute(self, text: str) -> str:
        """Run `$(text)`; return what it wrote, without the line ends at its end."""
        collected = Collected()
        shell = self.child()
        shell.descriptors[1] = collected
        shell.tested = 0
        if self.bash and "inherit_errexit" not in self.shopt:
            shell.options.discard("e")
        try:
            script = parse(text, bash=self.bash)
        except ShellSyntaxError as error:
            raise ExpansionError(str(error)) from None
        match script.items:
            case (Item(Simple((), (), (Redirect(0, "<", target),))),) if self.bash:  # `$(<file)`
                script = Script((Item(Simple((), (_CAT, target))),))
        self.substituted = self.status = await shell.isolated(Group(script))
        return collected.data.replace(b"\0", b"").decode("utf-8", "surrogateescape").rstrip("\n")

    # Programs

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
        """Run a tool or script as a process of its own; return its exit code, 127 if there is none."""
        return await programs.spawn(self, argv, stdin, stdout, stderr, env, view, found_by_shell=found_by_shell)

    def find(self, name: str) -> Tool | None:
        """Return the built-in tool that a name or path means."""
        return programs.find(self, name)

    def lookup(self, name: str) -> str | None:
        """Return the path of a file that a command's name means."""
        return programs.lookup(self, name)
