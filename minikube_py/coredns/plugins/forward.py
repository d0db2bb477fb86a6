"""`forward FROM TO... { except, force_tcp, prefer_udp, policy, max_concurrent, failover, … }`.

Stands for CoreDNS' forward plugin over plain DNS. Left out: TLS, HTTPS, health checks of upstreams.
Addresses of 127.0.0.0/8 have no names outside this machine, and no recursive resolver passes questions about them on
(RFC 6303 §4.2), so their reverse zone is answered here: NXDOMAIN at once instead of a detour.
Source: https://coredns.io/plugins/forward/
"""

import re

from minikube_py.coredns.corefile import Directive, duration, zones_of
from minikube_py.coredns.message import Answer, Record, parent_of
from minikube_py.coredns.plugins.plugin import Block, Forward, Handler, Outcome, Query, Step, Upstream

__all__ = ["setup", "upstreams_of"]

_ADDRESS = re.compile(
    r"(?:dns://)?(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]|[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F]*)(?::(\d+))?"
)
_LOCAL_REVERSE = "127.in-addr.arpa."


def upstreams_of(directive: Directive, block: Block) -> tuple[Upstream, ...]:
    """Return where to forward; never one of CoreDNS' own addresses, which would be a loop."""
    found: list[Upstream] = []
    for target in directive.args[1:]:
        if target.startswith("/"):
            if target == "/etc/resolv.conf":
                found.extend(block.context.upstreams)
            elif (text := block.context.read_file(target)) is not None:
                servers = re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE)
                found.extend(Upstream(address) for address in servers)
            else:
                directive.fail(f"plugin/forward: open {target}: no such file or directory")
            continue
        match = re.fullmatch(
            r"(?:dns://)?(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]|[0-9a-fA-F:]*:[0-9a-fA-F:]+)(?::(\d+))?", target
        )
        if not match:
            directive.fail(f"plugin/forward: {target!r} is not an address, address:port or file (TLS isn't emulated)")
        found.append(Upstream(match[1].strip("[]"), int(match[2] or 53)))
    own = [upstream for upstream in found if upstream.address in block.context.addresses]
    if own:
        block.warnings.append(f"plugin/forward: {own[0].address} is this very server: left out, it would be a loop")
    return tuple(upstream for upstream in found if upstream not in own)


def setup(directive: Directive, block: Block) -> Step:
    if len(directive.args) < 2:
        directive.fail("plugin/forward: Wrong argument count: forward FROM TO...")
    (zone,) = zones_of(directive.args[:1], directive.line)[:1]
    excepted: tuple[str, ...] = ()
    values: dict[str, object] = {}
    for line in directive.block:
        match line.name, line.args:
            case "except", (_, *_):
                excepted += zones_of(line.args, line.line)
            case "force_tcp", ():
                values["force_tcp"] = True
            case "policy", ("random" | "round_robin" | "sequential" as policy,):
                values["policy"] = policy
            case "max_concurrent", (text,) if text.isdigit():
                values["max_concurrent"] = int(text)
            case "failover", (_, *_):
                values["failover"] = frozenset(rcode.upper() for rcode in line.args)
            case (("expire" | "health_check"), (text, *_)):
                duration(text, line)
            case (("max_fails" | "prefer_udp" | "max_idle_conns" | "failfast_all_unhealthy_upstreams"), _):
                pass  # no health checks, no connections to keep: nothing to tune
            case _:
                line.unknown("forward")
    upstreams = upstreams_of(directive, block)

    def step(query: Query, next_: Handler) -> Outcome:
        name = query.question.name
        if not parent_of(name, zone) or any(parent_of(name, other) for other in excepted):
            return next_(query)
        if zone == "." and parent_of(name, _LOCAL_REVERSE):
            domain = name[len(name) - len(_LOCAL_REVERSE) :]
            soa = Record(domain, 10800, "SOA", f"{domain} nobody.invalid. 1 3600 1200 604800 10800")
            return Answer("NXDOMAIN", authority=(soa,), zone=domain, plugin="forward")
        if not upstreams:
            return Answer(
                "SERVFAIL", authoritative=False, plugin="forward", why="plugin/forward: no upstream nameserver is known"
            )
        return Forward(query.question, upstreams, **values)  # type: ignore[arg-type]  # each was matched above

    return step
