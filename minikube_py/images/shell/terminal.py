"""The line discipline of a terminal: echo, editing, Ctrl-C, Ctrl-D, history; and the shell's conversation on it.

Stands for the kernel's tty layer and busybox' line editing. Leaves out: completion, window size, raw mode for
full-screen programs.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minikube_py.images.shell.control import Break, Continue, Exit, Return
from minikube_py.images.shell.grammar import parse
from minikube_py.images.shell.streams import Sink, Source
from minikube_py.images.shell.syntax import ShellSyntaxError

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["Terminal", "converse"]

_KEEP = 500
"""Lines of history."""


class _Cooked(Source):
    """What programs read from a terminal: whole lines; an end of file (Ctrl-D) is not for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()

    def put(self, data: bytes) -> None:
        self._lines.put_nowait(data)

    async def _more(self) -> bytes:
        return await self._lines.get()

    def _again(self, data: bytes) -> bytes:
        if not data:
            self._ended = False
        return data

    async def read(self, limit: int = 65536) -> bytes:
        return self._again(await super().read(limit))

    async def line(self) -> bytes:
        return self._again(await super().line())


class _Screen:
    """Output on a terminal: a line end moves to the left edge, too."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def write(self, data: bytes) -> None:
        await self._sink.write(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def close(self) -> None:
        return None


class Terminal:
    """A terminal between a client's raw keys and the programs on it; `run()` is its task."""

    def __init__(self, keys: Source, sink: Sink, interrupt: Callable[[], None]) -> None:
        self._keys = keys
        self.stdin = _Cooked()
        self.stdout: Sink = _Screen(sink)
        self.interrupt = interrupt
        """Called for Ctrl-C."""
        self.prompt = ""
        """What stands before the line that is being typed; set while the shell waits for one."""
        self.history: list[str] = []
        self._line: list[str] = []
        self._cursor = 0
        self._place = 0

    async def run(self) -> None:
        """Serve keys until the client is gone: then the programs see the end of their input."""
        pending = b""
        while data := await self._keys.read(4096):
            pending += data
            try:
                text = pending.decode()
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":
                    continue
                text = pending.decode("utf-8", "replace")
            pending = await self._type(text)
        self.stdin.put("".join(self._line).encode())
        self.stdin.put(b"")

    async def _show(self, text: str) -> None:
        await self.stdout.write(text.encode())

    async def _type(self, text: str) -> bytes:
        """Take keys; return what is still incomplete (an escape sequence)."""
        at = 0
        while at < len(text):
            key = text[at]
            if key == "\x1b":
                if at + 2 >= len(text) and text[at + 1 : at + 2] in ("", "[", "O"):
                    return text[at:].encode()
                at = await self._escape(text, at)
                continue
            at += 1
            if key in "\r\n":
                if key == "\r" and text[at : at + 1] == "\n":
                    at += 1
                await self._enter()
            elif key in "\x7f\b":
                await self._rub_out()
            elif key == "\x03":
                await self._show("^C\n")
                self._line, self._cursor = [], 0
                self.interrupt()
            elif key == "\x04":
                if not self._line:
                    self.stdin.put(b"")
            elif key == "\x15":
                await self._replace("")
            elif key == "\x01":
                await self._move(0)
            elif key == "\x05":
                await self._move(len(self._line))
            elif key == "\x0c":
                await self._show(f"\x1b[H\x1b[J{self.prompt}{''.join(self._line)}")
            elif key >= " ":
                self._line.insert(self._cursor, key)
                self._cursor += 1
                tail = "".join(self._line[self._cursor :])
                await self._show(key + tail + "\b" * len(tail))
        return b""

    async def _enter(self) -> None:
        line = "".join(self._line)
        if self.prompt and line.strip() and self.history[-1:] != [line]:
            self.history = [*self.history, line][-_KEEP:]
        self._line, self._cursor, self._place = [], 0, 0
        await self._show("\n")
        self.stdin.put(f"{line}\n".encode())

    async def _rub_out(self) -> None:
        if self._cursor:
            self._cursor -= 1
            del self._line[self._cursor]
            tail = "".join(self._line[self._cursor :])
            await self._show("\b" + tail + " " + "\b" * (len(tail) + 1))

    async def _move(self, to: int) -> None:
        to = min(max(to, 0), len(self._line))
        if to < self._cursor:
            await self._show("\b" * (self._cursor - to))
        else:
            await self._show("".join(self._line[self._cursor : to]))
        self._cursor = to

    async def _replace(self, text: str) -> None:
        await self._move(len(self._line))
        await self._show("\b \b" * len(self._line) + text)
        self._line, self._cursor = list(text), len(text)

    async def _escape(self, text: str, at: int) -> int:
        end = at + 2
        while end < len(text) and not ("@" <= text[end] <= "~"):
            end += 1
        match text[end : end + 1]:
            case "A" | "B" if self.prompt:
                step = 1 if text[end] == "A" else -1
                self._place = min(max(self._place + step, 0), len(self.history))
                await self._replace(self.history[-self._place] if self._place else "")
            case "C":
                await self._move(self._cursor + 1)
            case "D":
                await self._move(self._cursor - 1)
            case "H":
                await self._move(0)
            case "F":
                await self._move(len(self._line))
        return end + 1


def _incomplete(error: ShellSyntaxError) -> bool:
    text = str(error)
    return "unexpected end of file" in text or "unterminated" in text or "EOF in" in text


async def converse(shell: "Shell", terminal: Terminal | None) -> int:
    """Read commands from stdin and run each when it is complete; with a terminal, prompt for them."""
    pending = ""
    while True:
        if terminal is not None:
            where = shell.view.cwd if shell.view.cwd != shell.variables.get("HOME") else "~"
            prompt = f"{where} # " if shell.variables.get("PS1") is None else shell.variables["PS1"]
            terminal.prompt = "> " if pending else prompt
            await terminal.stdout.write(terminal.prompt.encode())
        reading = asyncio.ensure_future(shell.stdin.line())
        if terminal is not None:
            terminal.interrupt = lambda: _cancel(reading)  # noqa: B023  # it is set anew in each round
        try:
            line = await reading
        except asyncio.CancelledError:
            if not reading.cancelled() or terminal is None or _is_cancelled():
                reading.cancel()
                raise
            pending, shell.status = "", 130
            continue
        if terminal is not None:
            terminal.prompt = ""
        if not line:
            if pending.strip():
                await _once(shell, pending, terminal)
            elif terminal is not None:
                await terminal.stdout.write(b"\n")
            return await shell.finish()
        pending += line.decode("utf-8", "surrogateescape")
        if pending.endswith("\\\n"):
            continue
        try:
            parse(pending)
        except ShellSyntaxError as error:
            if _incomplete(error):
                continue
        if _open_heredoc(pending):
            continue
        text, pending = pending, ""
        if await _once(shell, text, terminal):
            return await shell.finish()


def _open_heredoc(text: str) -> bool:
    """Tell whether a here-document's end is still to come."""
    import re

    first, _, rest = text.partition("\n")
    match = re.search(r"(?<!<)<<-?\s*['\"]?(\w+)['\"]?", first)
    return match is not None and "((" not in first and match[1] not in [line.strip() for line in rest.split("\n")]


def _cancel(task: "asyncio.Future[Any]") -> None:
    task.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _once(shell: "Shell", text: str, terminal: Terminal | None) -> bool:
    """Run one complete command; True when the shell is to end."""
    if not text.strip():
        return False
    running = asyncio.ensure_future(shell.evaluate(text))
    if terminal is not None:
        terminal.interrupt = lambda: _cancel(running)
    try:
        await running
    except asyncio.CancelledError:
        if _is_cancelled() or terminal is None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise
        shell.status = 130
    except Exit as end:
        shell.status = end.code
        # A syntax or expansion error doesn't end an interactive shell; `exit` does.
        first = text.split()[0] if text.split() else ""
        return terminal is None or end.code != 2 or first == "exit"
    except (Return, Break, Continue):
        pass
    return False
