"""A DNS question to a nameserver, as the pod: what nslookup, dig, host and getent stand on.

Leaves out: DNSSEC validation, questions in batches.
"""

import random
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from minikube_py.cni import dnsclient, dnswire
from minikube_py.cni.resolvconf import ResolvConf
from minikube_py.images.shell.process import Process

__all__ = ["Answer", "ask", "ask_in_turn", "conf_of", "reverse_name"]


@dataclass(slots=True)
class Answer:
    """A reply, read."""

    data: bytes
    tcp: bool = False
    seconds: float = 0.0
    rows: list[tuple[int, str, int, str, str]] = field(default_factory=list)
    """(section, owner name, TTL, type, data as in a zone file)."""

    @property
    def rcode(self) -> int:
        return dnswire.header(self.data).rcode

    def values(self, *types: str) -> list[str]:
        return [data for section, _, _, type_, data in self.rows if section == 0 and type_ in types]


def conf_of(p: Process) -> ResolvConf:
    """Read resolv.conf as it is now in the container: who edits it sees the effect."""
    try:
        return ResolvConf.parse(p.view.read("/etc/resolv.conf").decode("utf-8", "replace"))
    except OSError:
        return ResolvConf()


async def ask(server: tuple[str, int], name: str, type_: str, **how: Any) -> Answer:
    """Send one question, again over TCP if the reply is cut off.

    Error handling: TimeoutError; OSError if the server refuses.
    """
    seconds, tries = how.get("seconds", 5.0), how.get("tries", 1)
    question = dnswire.query(
        random.getrandbits(16),
        name,
        dnswire.type_number(type_),
        edns=how.get("edns", 0),
        recursion=how.get("recursion", True),
    )
    started = time.monotonic()
    data: bytes | None = None
    tcp = bool(how.get("tcp"))
    if not tcp:
        for _ in range(tries):
            (data,) = await dnsclient.udp([question], server, timeout=seconds)
            if data:
                break
        if not data:
            raise TimeoutError
        tcp = dnswire.header(data).truncated and not how.get("ignore")
    if tcp:
        data = await dnsclient.tcp(question, server, timeout=seconds)
    assert data is not None
    return Answer(data, tcp, time.monotonic() - started, _rows(data))


async def ask_in_turn(
    servers: list[str], port: int, name: str, wanted: list[str], seconds: float
) -> tuple[str, list[Answer]]:
    """Ask the servers in turn; return the first that answers.

    Error handling: TimeoutError, OSError of the last.
    """
    failure: OSError = TimeoutError()
    for server in servers:
        try:
            return server, [await ask((server, port), name, type_, seconds=seconds, tries=2) for type_ in wanted]
        except OSError as error:
            failure = error
    raise failure


def _rows(data: bytes) -> list[tuple[int, str, int, str, str]]:
    import dnslib

    parsed = dnslib.DNSRecord.parse(data)
    rows = []
    for section, records in enumerate((parsed.rr, parsed.auth, parsed.ar)):
        for record in records:
            type_ = dnswire.type_name(record.rtype)
            if type_ != "OPT":
                text = str(record.rdata)
                if type_ == "AAAA":
                    from ipaddress import IPv6Address

                    text = str(IPv6Address(text))
                rows.append((section, str(record.rname), record.ttl, type_, text))
    return rows


def reverse_name(address: str) -> str:
    return IPv4Address(address).reverse_pointer + "."
