"""The query log in CoreDNS' formats, written in batches so that a query pays for one append only.

Source: https://coredns.io/plugins/log/
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.cni.mmsg import Datagram
from minikube_py.coredns.message import Question, parent_of
from minikube_py.coredns.plugins.plugin import LogRule
from minikube_py.coredns.plugins.settings import COMMON

__all__ = ["QueryLog", "ReplyInfo", "formats_for", "line", "rflags"]

_DELAY = 0.02
"""Seconds a line may wait for others."""
_MOST = 10_000
"""Lines in a second; a container's log keeps no more (LineLog), and journald cuts at as many in 30 s."""

_FLAGS = (
    (0x8000, "qr"),
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0020, "ad"),
    (0x0010, "cd"),
)


class ReplyInfo(NamedTuple):
    """What log and metrics say of a reply; one for all replies made from one finished answer."""

    question: Question
    rcode: str
    flags: int
    size: int
    """Uncompressed, as CoreDNS counts it."""
    formats: tuple[str, ...]
    """Of the log rules that apply; empty: not logged."""
    zone: str
    """The server block's."""
    plugin: str
    proto: str


@lru_cache(256)
def rflags(flags: int) -> str:
    return ",".join(name for bit, name in _FLAGS if flags & bit)


def formats_for(rules: list[LogRule], question: Question, rcode: str, answers: int) -> tuple[str, ...]:
    """Return the formats in which a reply is logged."""
    class_ = (
        "error"
        if rcode not in ("NOERROR", "NXDOMAIN")
        else "denial"
        if rcode == "NXDOMAIN" or not answers
        else "success"
    )
    return tuple(
        rule.format
        for rule in rules
        if any(parent_of(question.name, zone) for zone in rule.zones) and rule.classes & {"all", class_}
    )


def _edns(data: bytes) -> tuple[bool, int]:
    """Return (DO, advertised size) of a query that was read before; (False, 512) without OPT."""
    end = data.find(0, 12) + 5
    if len(data) >= end + 11 and data[end : end + 3] == b"\0\0\x29":
        return data[end + 7] >= 0x80, max(data[end + 3] << 8 | data[end + 4], 512)
    return False, 512


def line(format_: str, client: Any, data: bytes, info: ReplyInfo, seconds: float) -> str:
    """Return one line of the log."""
    do, bufsize = _edns(data)
    remote = f"[{client[0]}]" if ":" in client[0] else client[0]
    name, type_, klass = info.question
    flags = info.flags
    if format_ is COMMON:
        return (
            f'[INFO] {remote}:{client[1]} - {data[0] << 8 | data[1]} "{type_} {klass} {name.lower()} {info.proto} '
            f'{len(data)} {str(do).lower()} {bufsize}" {info.rcode} {rflags(flags)} {info.size} {seconds:.9f}s'
        )
    values = {
        "remote": remote,
        "port": client[1],
        ">id": data[0] << 8 | data[1],
        "type": type_,
        "class": klass,
        "name": name.lower(),
        "proto": info.proto,
        "size": len(data),
        ">do": "true" if do else "false",
        ">bufsize": bufsize,
        "rcode": info.rcode,
        ">rflags": rflags(flags),
        "rsize": info.size,
        "duration": f"{seconds:.9f}s",
        ">opcode": data[2] >> 3 & 15,
        "local": "-",
    }
    return "[INFO] " + re.sub(r"\{(>?[a-z/]+)\}", lambda m: str(values.get(m[1], "-")), format_)


class Logged(Protocol):
    """A finished answer (fastpath.Entry)."""

    info: ReplyInfo


class QueryLog:
    """Collects what was answered and writes it soon after.

    Error handling: beyond 10,000 lines in a second the rest is counted, and the number is logged.
    Resource handling: one timer while lines wait; `close()` writes them.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._pending: list[tuple[Any, bytes, ReplyInfo, float]] = []
        self._timer: Timer | None = None
        self._since = 0.0
        self._written = 0
        self._left_out = 0

    def add(self, client: Any, data: bytes, info: ReplyInfo, seconds: float) -> None:
        """Note a reply to the query `data`, given after `seconds`."""
        if self._has_room():
            self._pending.append((client, data, info, seconds))
        else:
            self._left_out += 1

    def _has_room(self) -> bool:
        """Tell whether a line has a chance to be written, and see to it that somebody writes soon."""
        room = len(self._pending) < _MOST - self._written or self._clock.now() - self._since >= 1.0
        if self._timer is None:
            self._timer = self._clock.call_later(_DELAY if room else 1.0, self._due)
        return room and len(self._pending) < _MOST

    def add_all(self, received: list[Datagram], entries: Sequence[Logged], seconds: float) -> None:
        """Note replies to a batch of queries, each given after `seconds`; those without a format are left out."""
        if not self._has_room():
            self._left_out += len(entries)
            return
        self._pending += [
            (client, data, entry.info, seconds)
            for (data, client), entry in zip(received, entries, strict=True)
            if entry.info.formats
        ]

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        now = self._clock.now()
        if now - self._since >= 1.0:
            self._since, self._written = now, 0
        room = _MOST - self._written
        if len(pending) > room:
            self._left_out += len(pending) - room
            del pending[room:]
        lines = [line(format_, *reply) for reply in pending for format_ in reply[2].formats]
        self._written += len(pending)
        if self._left_out and (self._written < _MOST or not lines):
            lines.append(f"[WARNING] plugin/log: {self._left_out} more queries came than are written in a second")
            self._left_out = 0
        if lines:
            self._write("\n".join(lines) + "\n")
        if self._left_out and self._timer is None:
            self._timer = self._clock.call_later(1.0, self._due)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.flush()
        if self._timer:
            self._timer.cancel()
            self._timer = None
