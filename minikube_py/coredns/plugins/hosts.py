"""`hosts [FILE [ZONES...]] { ADDRESS NAME..., ttl, no_reverse, reload, fallthrough }`.

A FILE is read when the Corefile is (a mounted ConfigMap, say); without one there are only the inline lines.
Source: https://coredns.io/plugins/hosts/
"""

from ipaddress import ip_address

from minikube_py.cni.resolvconf import parse_hosts
from minikube_py.coredns.answer import reverse_address
from minikube_py.coredns.corefile import Directive, zones_of
from minikube_py.coredns.message import Answer, Record, parent_of
from minikube_py.coredns.plugins.plugin import Block, Handler, Outcome, Query, Step

__all__ = ["setup"]


def setup(directive: Directive, block: Block) -> Step:
    path, *names = directive.args or ("/etc/hosts",)
    zones = zones_of(tuple(names), directive.line) or block.zones
    lines: list[str] = []
    ttl, reverse = 3600, True
    fallthrough: tuple[str, ...] = ()
    text = block.context.read_file(path)
    if text is None and directive.args:
        directive.fail(f"plugin/hosts: open {path}: no such file or directory")
    for line in directive.block:
        match line.name, line.args:
            case "ttl", (number,) if number.isdigit() and int(number) > 0:
                ttl = int(number)
            case "ttl", _:
                line.fail("plugin/hosts: ttl needs a positive number of seconds")
            case "no_reverse", ():
                reverse = False
            case "reload", (_,):
                pass
            case "fallthrough", names_:
                fallthrough = zones_of(names_, line.line) or (".",)
            case address, (_, *_):
                try:
                    ip_address(address)
                except ValueError:
                    line.unknown("hosts")
                lines.append(" ".join((address, *line.args)))
            case _:
                line.unknown("hosts")
    # Inline lines stand first, so they go before the file's.
    forward = {
        f"{name.removesuffix('.')}.": found for name, found in parse_hosts("\n".join([*lines, text or ""])).items()
    }
    backward: dict[str, list[str]] = {}
    for name, addresses in forward.items():
        for address in addresses if reverse else ():
            backward.setdefault(str(ip_address(address.partition("%")[0])), []).append(name)

    def found(query: Query) -> tuple[Record, ...] | None:
        """Return the records; None if the name isn't here."""
        question = query.question
        if question.type == "PTR":
            pointed = backward.get(reverse_address(question.name) or "")
            return tuple(Record(question.name, ttl, "PTR", name) for name in pointed) if pointed else None
        addresses = forward.get(question.name.lower())
        if addresses is None:
            return None
        kinds = [(address, "AAAA" if ":" in address else "A") for address in addresses]
        return tuple(Record(question.name, ttl, kind, address) for address, kind in kinds if kind == question.type)

    def step(query: Query, next_: Handler) -> Outcome:
        name = query.question.name
        if not any(parent_of(name, zone) for zone in zones) and query.question.type != "PTR":
            return next_(query)
        records = found(query)
        if records is not None:
            return Answer("NOERROR", records, plugin="hosts")
        if query.question.type == "PTR" or any(parent_of(name, zone) for zone in fallthrough):
            return next_(query)
        return Answer("NXDOMAIN", plugin="hosts")

    return step
