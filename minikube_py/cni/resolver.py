"""A pod's libc resolver: hosts file, search list, nameservers, timeouts, all with real queries from the pod's address.

Stands for getaddrinfo of glibc with `hosts: files dns`. Left out: IPv6 addresses in the result (pods here are IPv4;
the AAAA queries are sent all the same, as a real pod's are), nscd, mDNS, `sortlist`, `single-request`.

    resolve(host) ── address literal? hosts file? ──► done
         │ candidates(host)                             (resolvconf: pure)
         ▼
    _search: a generator that yields the next name and is told the outcome      (pure, after glibc's res_search)
         ▼
    _exchange / _exchange_blocking: attempts × nameservers, UDP, TCP when truncated    (dnsclient: I/O)
"""

import random
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from minikube_py.aiokit.clock import Clock
from minikube_py.cni import dnsclient
from minikube_py.cni.dnswire import Reply, WireError, query, read_reply, type_number
from minikube_py.cni.resolvconf import (
    ResolvConf,
    candidates,
    hosts_text,
    parse_hosts,
    pod_resolv_conf,
    queries,
)

__all__ = [
    "ResolvConf",
    "StubResolver",
    "candidates",
    "hosts_text",
    "parse_hosts",
    "pod_resolv_conf",
    "queries",
]

_GLIBC = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
    socket.EAI_NODATA: "No address associated with hostname",
}
_CHANCE = random.SystemRandom()  # the machine's, without a state of its own; one for each pod would take 2.5 KB
_RETRIED = (2, 4, 5)
"""SERVFAIL, NOTIMP, REFUSED: glibc asks the next nameserver."""


class Status(Enum):
    """What became of one candidate name."""

    FOUND = "found"
    NODATA = "no such record"
    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "the nameserver failed"
    NO_ANSWER = "no answer"
    REFUSED = "connection refused"


class Outcome(NamedTuple):
    status: Status
    addresses: tuple[str, ...] = ()
    replies: tuple[bytes, ...] = ()


def _search(host: str, conf: ResolvConf) -> Generator[str, Outcome, Outcome]:
    """Yield the names to ask for and return what the lookup comes to, as glibc's res_search decides.

    1. Found: the end.
    2. NXDOMAIN, no data, SERVFAIL: the next candidate.
    3. No answer to a searched name: the rest of the list is given up, but the name as it is still gets its try.
    4. Connection refused: the end.
    5. At the end, the first error of the name as it is counts if it came first; then no data, then SERVFAIL.
    """
    absolute = f"{host.removesuffix('.')}."
    names = candidates(host, conf)
    seen: dict[str, Outcome] = {}
    for name in names:
        silent = any(seen[other].status is Status.NO_ANSWER for other in seen if other != absolute)
        if silent and name != absolute:
            continue
        outcome = seen[name] = yield name
        if outcome.status in (Status.FOUND, Status.REFUSED):
            return outcome
    statuses = [outcome.status for outcome in seen.values()]
    if names[0] == absolute:
        return seen[absolute]
    for status in (Status.NODATA, Status.SERVFAIL):
        if status in statuses:
            return Outcome(status)
    return Outcome(statuses[-1])


def _verdict(answers: Sequence[Reply | None], raw: Sequence[bytes | None]) -> Outcome:
    """Sum up the replies to the questions (A, AAAA) about one name."""
    replies = tuple(reply for reply in raw if reply)
    known = [answer for answer in answers if answer is not None]
    addresses = tuple(address for answer in known for address in answer.addresses)
    if addresses:
        return Outcome(Status.FOUND, addresses, replies)
    if any(answer.rcode == 3 for answer in known):
        return Outcome(Status.NXDOMAIN, (), replies)
    if any(answer.rcode for answer in known):
        return Outcome(Status.SERVFAIL, (), replies)
    if len(known) < len(answers):
        return Outcome(Status.NO_ANSWER, (), replies)
    return Outcome(Status.NODATA, (), replies)


class StubResolver:
    """Implements `cni.types.Resolver`; `resolve_blocking` and `query_blocking` do the same from a plain thread.

    Error handling: `resolve` raises `socket.gaierror` as getaddrinfo does, with a note that says what was asked where:
    EAI_NONAME (no such name), EAI_NODATA (the name has no address), EAI_AGAIN (no answer, or SERVFAIL).
    """

    def __init__(
        self,
        conf: ResolvConf,
        hosts: Mapping[str, Sequence[str]] | None = None,
        *,
        source: str = "",
        real_port: Callable[[str, int], int] = lambda address, port: port,
        port: int = 53,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        types: Sequence[str] = ("A", "AAAA"),
    ) -> None:
        """`source` is the pod's address; `real_port(address, port)` translates 53 where it can't be bound."""
        self.conf = conf
        self.hosts = hosts or {}
        self.source = source
        self._real_port = real_port
        self._port = port
        self._clock = clock
        self._chance = chance or _CHANCE
        self._types = tuple(map(type_number, types))

    # -- getaddrinfo ---------------------------------------------------------------------------------------------

    async def resolve(self, host: str) -> Sequence[str]:
        """Return the IPv4 addresses of `host`."""
        if (known := self._without_dns(host)) is not None:
            return known
        search = _search(host, self.conf)
        tried: list[str] = []
        try:
            name = next(search)
            while True:
                outcome = await self._ask(name, self._types)
                tried.append(f"{name} {outcome.status.value}")
                name = search.send(outcome)
        except StopIteration as end:
            return self._result(host, end.value, tried)

    def resolve_blocking(self, host: str) -> Sequence[str]:
        """Do what `resolve` does, from a plain thread."""
        if (known := self._without_dns(host)) is not None:
            return known
        search = _search(host, self.conf)
        tried: list[str] = []
        try:
            name = next(search)
            while True:
                outcome = self._ask_blocking(name, self._types)
                tried.append(f"{name} {outcome.status.value}")
                name = search.send(outcome)
        except StopIteration as end:
            return self._result(host, end.value, tried)

    def _without_dns(self, host: str) -> tuple[str, ...] | None:
        if host[:1].isdigit():
            try:
                return (socket.inet_ntoa(socket.inet_aton(host)),)  # `127.1` is an address, too
            except OSError:
                pass  # a name that begins with a digit
        if found := self.hosts.get(host.removesuffix(".").lower()):
            return tuple(address for address in found if ":" not in address)
        try:
            query(0, host, 1)
        except WireError:
            raise _gaierror(socket.EAI_NONAME, f"{host!r} can't be a DNS name") from None
        if not self.conf.nameservers:
            raise _gaierror(socket.EAI_AGAIN, "resolv.conf names no nameserver")
        return None

    def _result(self, host: str, outcome: Outcome, tried: Sequence[str]) -> tuple[str, ...]:
        ipv4 = tuple(dict.fromkeys(address for address in outcome.addresses if ":" not in address))
        if ipv4:
            return ipv4
        match outcome.status:
            case Status.FOUND | Status.NODATA:
                code = socket.EAI_NODATA
            case Status.NXDOMAIN:
                code = socket.EAI_NONAME
            case _:
                code = socket.EAI_AGAIN
        asked = ", ".join(f"{server}:{self._port}" for server in self.conf.nameservers)
        raise _gaierror(code, f"looking up {host!r} at {asked}: {'; '.join(tried)}")

    # -- dig and nslookup ----------------------------------------------------------------------------------------

    async def query(self, name: str, type_: str = "A", *, search: bool = False) -> bytes:
        """Return the reply to one question as bytes; with `search`, of the first candidate that has such a record.

        Error handling: TimeoutError when no nameserver answers.
        """
        reply = b""
        for candidate in self._candidates(name, search):
            outcome = await self._ask(candidate, (type_number(type_),))
            if not outcome.replies:
                raise self._silence(candidate, outcome)
            reply = outcome.replies[0]
            if _has_answer(reply):
                break
        return reply

    def query_blocking(self, name: str, type_: str = "A", *, search: bool = False) -> bytes:
        """Do what `query` does, from a plain thread."""
        reply = b""
        for candidate in self._candidates(name, search):
            outcome = self._ask_blocking(candidate, (type_number(type_),))
            if not outcome.replies:
                raise self._silence(candidate, outcome)
            reply = outcome.replies[0]
            if _has_answer(reply):
                break
        return reply

    def _candidates(self, name: str, search: bool) -> list[str]:
        return candidates(name, self.conf) if search else [f"{name.removesuffix('.')}."]

    def _silence(self, name: str, outcome: Outcome) -> TimeoutError:
        servers = ", ".join(self.conf.nameservers) or "none is configured"
        return TimeoutError(f"no answer about {name} from the nameservers ({servers}): {outcome.status.value}")

    # -- one name ------------------------------------------------------------------------------------------------

    def _questions(self, name: str, types: Sequence[int]) -> list[bytes]:
        edns = 1200 if "edns0" in self.conf.options else 0
        return [query(self._chance.getrandbits(16), name, type_, edns=edns) for type_ in types]

    def _servers(self) -> list[tuple[tuple[str, int], int]]:
        """Return ((address, port), seconds) for each try, in order."""
        nameservers = self.conf.nameservers[:3]
        once = [
            ((server, self._real_port(server, self._port)), self.conf.wait(i)) for i, server in enumerate(nameservers)
        ]
        return once * self.conf.attempts

    def _source(self, server: tuple[str, int]) -> str:
        """The pod's address; beyond loopback nobody could answer to it, and the machine's own is used."""
        return self.source if server[0].startswith("127.") else ""

    async def _ask(self, name: str, types: Sequence[int]) -> Outcome:
        questions = self._questions(name, types)
        state = _State(questions)
        for server, seconds in self._servers():
            try:
                missing = state.missing()
                replies = await dnsclient.udp(
                    missing, server, timeout=seconds, source=self._source(server), clock=self._clock
                )
                for question, reply in zip(missing, replies, strict=True):
                    if state.take(question, reply):
                        whole = await dnsclient.tcp(
                            question, server, timeout=seconds, source=self._source(server), clock=self._clock
                        )
                        state.take(question, whole)
            except (OSError, WireError) as error:
                state.failed(error)
            if state.complete:
                break
        return state.outcome()

    def _ask_blocking(self, name: str, types: Sequence[int]) -> Outcome:
        questions = self._questions(name, types)
        state = _State(questions)
        for server, seconds in self._servers():
            try:
                missing = state.missing()
                replies = dnsclient.udp_blocking(missing, server, timeout=seconds, source=self._source(server))
                for question, reply in zip(missing, replies, strict=True):
                    if state.take(question, reply):
                        whole = dnsclient.tcp_blocking(question, server, timeout=seconds, source=self._source(server))
                        state.take(question, whole)
            except (OSError, WireError) as error:
                state.failed(error)
            if state.complete:
                break
        return state.outcome()


class _State:
    """What is known so far about one name's questions."""

    def __init__(self, questions: Sequence[bytes]) -> None:
        self._questions = questions
        self._answers: dict[bytes, Reply] = {}
        self._raw: dict[bytes, bytes] = {}
        self._refused = True
        """Every try so far met a closed port."""

    def missing(self) -> list[bytes]:
        return [question for question in self._questions if self._is_missing(question)]

    def _is_missing(self, question: bytes) -> bool:
        answer = self._answers.get(question)
        return answer is None or answer.rcode in _RETRIED

    @property
    def complete(self) -> bool:
        return not any(map(self._is_missing, self._questions))

    def take(self, question: bytes, reply: bytes | None) -> bool:
        """Note a reply; tell whether it is truncated, so that TCP is to be asked."""
        self._refused = False
        answer = read_reply(reply, question) if reply else None
        if reply is None or answer is None:
            return False
        if answer.truncated and question not in self._raw:
            self._raw[question] = reply
            return True
        self._answers[question], self._raw[question] = answer, reply
        return False

    def failed(self, error: Exception) -> None:
        self._refused = self._refused and isinstance(error, ConnectionRefusedError)

    def outcome(self) -> Outcome:
        if self._refused:
            return Outcome(Status.REFUSED)
        return _verdict(
            [self._answers.get(question) for question in self._questions],
            [self._raw.get(question) for question in self._questions],
        )


def _has_answer(reply: bytes) -> bool:
    return reply[3] & 15 == 0 and reply[6:8] != b"\0\0"


def _gaierror(code: int, why: str) -> socket.gaierror:
    error = socket.gaierror(code, _GLIBC[code])
    error.add_note(why)
    return error
