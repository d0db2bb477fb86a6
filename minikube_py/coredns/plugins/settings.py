"""Plugins that set something of their server block and leave queries alone: each is one function.

Sources: https://coredns.io/plugins/log/, …/cache/, …/health/, …/ready/, …/metrics/, …/errors/, …/reload/, …/loop/,
…/loadbalance/, …/bufsize/
"""

from minikube_py.coredns.corefile import Directive, duration, zones_of
from minikube_py.coredns.plugins.plugin import Block, CacheRule, LogRule

__all__ = [
    "COMBINED",
    "COMMON",
    "bufsize",
    "cache",
    "errors",
    "health",
    "loadbalance",
    "log",
    "loop",
    "prometheus",
    "ready",
    "reload",
]

_REPLY = '"{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}'
COMMON = "{remote}:{port} - {>id} " + _REPLY
COMBINED = "{remote}:{port} - {>id} {>opcode} " + _REPLY


def _listen(directive: Directive, default: int) -> tuple[str, int]:
    """Return (host, port) of an optional `[HOST]:PORT` argument; the host "" is the pod."""
    if not directive.args:
        return "", default
    host, _, port = directive.args[0].rpartition(":")
    if len(directive.args) > 1 or not port.isdigit():
        directive.fail(f"plugin/{directive.name}: expected one [ADDRESS]:PORT, not {' '.join(directive.args)!r}")
    return ("" if host in ("0.0.0.0", "[::]") else host), int(port)


def reload(directive: Directive, block: Block) -> None:
    """`reload [INTERVAL] [JITTER]`: a changed Corefile is loaded, here at once instead of after up to 45 s."""
    for text in directive.args:
        if text != "off":
            duration(text, directive)
    block.reload = directive.args != ("off",)


def ready(directive: Directive, block: Block) -> None:
    """`ready [ADDRESS]`: /ready says OK once the API is synced."""
    block.ready = _listen(directive, 8181)
    for line in directive.block:
        if line.name != "monitor":
            line.unknown("ready")


def health(directive: Directive, block: Block) -> None:
    """`health [ADDRESS] { lameduck DURATION }`: /health; lameduck goes on serving that long after SIGTERM."""
    block.health = _listen(directive, 8080)
    for line in directive.block:
        match line.name, line.args:
            case "lameduck", (text,):
                block.lameduck = duration(text, line)
            case _:
                line.unknown("health")


def prometheus(directive: Directive, block: Block) -> None:
    """`prometheus [ADDRESS]`: /metrics."""
    block.metrics = _listen(directive, 9153)
    for line in directive.block:
        if line.name != "runtime_metrics":
            line.unknown("prometheus")


def errors(directive: Directive, block: Block) -> None:
    """`errors`: failures go to the log."""
    block.errors = True
    for line in directive.block:
        if line.name not in ("consolidate", "stacktrace", "show_first"):
            line.unknown("errors")


_CLASSES = {"all", "success", "denial", "error"}


def log(directive: Directive, block: Block) -> None:
    """`log [NAMES...] [FORMAT] { class CLASSES... }`: queries go to the log."""
    *names, last = directive.args or (".",)
    if "{" in last:
        format_ = {"{common}": COMMON, "{combined}": COMBINED}.get(last, last)
    else:
        names, format_ = [*names, last], COMMON
    classes: set[str] = set()
    for line in directive.block:
        match line.name, line.args:
            case "class", (_, *_) if set(line.args) <= _CLASSES:
                classes |= set(line.args)
            case "class", _:
                line.fail(f"plugin/log: class is one of {', '.join(sorted(_CLASSES))}")
            case _:
                line.unknown("log")
    zones = zones_of(tuple(names), directive.line) or (".",)
    block.log.append(LogRule(zones, format_, frozenset(classes or {"all"})))


def loadbalance(directive: Directive, block: Block) -> None:
    """`loadbalance [round_robin]`: addresses of an answer take turns at being first."""
    if directive.args not in ((), ("round_robin",)):
        directive.fail(f"plugin/loadbalance: policy {directive.args[0]!r} is not emulated (round_robin is)")
    block.rotate = True


def cache(directive: Directive, block: Block) -> None:
    """`cache [TTL] [ZONES...] { success, denial, disable, … }`: keeps answers from upstream."""
    args = list(directive.args)
    ttl = int(args.pop(0)) if args and args[0].isdigit() else None
    zones = zones_of(tuple(args), directive.line) or block.zones
    success, denial, capacity = ttl or 3600, ttl or 1800, 9984
    disabled: dict[str, tuple[str, ...]] = {"success": (), "denial": ()}
    for line in directive.block:
        numbers = [int(text) for text in line.args if text.isdigit()]
        match line.name, line.args:
            case "success", (_, *_) if numbers:
                capacity, success = numbers[0], numbers[1] if len(numbers) > 1 else success
            case "denial", (_, *_) if numbers:
                denial = numbers[1] if len(numbers) > 1 else denial
            case "disable", (("success" | "denial") as kind, *names):
                disabled[kind] += zones_of(tuple(names), line.line) or zones
            case (("prefetch" | "serve_stale" | "servfail" | "keepttl"), _):
                pass  # they tune what is served while an upstream is slow; answers here are asked for anew
            case _:
                line.unknown("cache")
    block.cache = CacheRule(zones, success, denial, capacity, disabled["success"], disabled["denial"])


def loop(directive: Directive, block: Block) -> None:
    """`loop`: forwarding to oneself is prevented when the Corefile is read (plugins/forward.py)."""


def bufsize(directive: Directive, block: Block) -> None:
    """`bufsize [SIZE]`: limits what is asked of upstreams; ours ask with 1232 as it is."""
    if directive.args and not (directive.args[0].isdigit() and 512 <= int(directive.args[0]) <= 4096):
        directive.fail("plugin/bufsize: the size is a number from 512 to 4096")
