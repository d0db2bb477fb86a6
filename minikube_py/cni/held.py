"""Connections that a policy denies: accepted by the kernel, but read by nobody until the policy changes its mind.

This is how a drop looks where the kernel can't do it for us: the caller waits for an answer until its own timeout.
A held caller that goes away is noticed by looking at the state of its socket; reading would lose what it sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.cni import tcpinfo
from minikube_py.cni.accept import TrackedSocket, reset

__all__ = ["HeldConnections"]

_LOOK = 0.1
"""Seconds between two looks at who has gone away."""
_MOST = 4096
"""Each is a file descriptor; beyond this the one held longest is reset."""


@dataclass(slots=True)
class _Held:
    socket: TrackedSocket
    owner: object
    again: Callable[[], object]
    gone: Callable[[], object]


class HeldConnections:
    """The held connections of one fabric.

    Resource handling: `drop(owner)` resets those of one listener, `close()` all.
    """

    def __init__(self) -> None:
        self._held: dict[TrackedSocket, _Held] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, caller: tuple[str, int]) -> bool:
        """Tell whether the connection from this address and port is held."""
        for sock in self._held:
            try:
                if sock.getpeername() == caller:
                    return True
            except OSError:
                continue  # it has gone away
        return False

    def add(self, sock: TrackedSocket, owner: object, again: Callable[[], object], gone: Callable[[], object]) -> None:
        """Hold `sock`; then call `again` to have it judged anew, or `gone` once it is closed."""
        if len(self._held) >= _MOST:
            self._end(next(iter(self._held.values())))
        self._held[sock] = _Held(sock, owner, again, gone)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def judge(self, owner: object = None) -> None:
        """Have every held connection, or those of one listener, judged anew: what held them may have changed."""
        for one in [one for one in self._held.values() if owner in (None, one.owner)]:
            if self._held.pop(one.socket, None) is None:
                continue  # an earlier one's judgement closed the listener
            if tcpinfo.read(one.socket).closed_by_peer:
                one.socket.close()
                one.gone()
            else:
                one.again()

    def drop(self, owner: object) -> None:
        """Reset what `owner` holds: it is closing."""
        for one in [one for one in self._held.values() if one.owner is owner]:
            self._end(one)

    def close(self) -> None:
        for one in [*self._held.values()]:
            self._end(one)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _end(self, one: _Held) -> None:
        del self._held[one.socket]
        reset(one.socket)
        one.gone()

    def _look(self) -> None:
        self._timer = None
        for one in [one for one in self._held.values() if tcpinfo.read(one.socket).closed_by_peer]:
            self._end(one)
        if self._held:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)
