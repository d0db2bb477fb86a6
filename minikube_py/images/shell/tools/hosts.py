"""host (BIND's) and getent: names and addresses, one line each.

Leaves out: host -a and -l, getent's databases other than hosts, ahosts, passwd and group.
"""

import asyncio

from minikube_py.cni import dnswire
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.resolvconf import candidates, parse_hosts
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.dns_question import ask, conf_of, reverse_name
from minikube_py.images.shell.tools.network import address_of

__all__ = ["TOOLS"]


async def _host(p: Process) -> int:
    args = list(p.args)
    type_ = ""
    if "-t" in args:
        at = args.index("-t")
        type_ = args[at + 1].upper()
        del args[at : at + 2]
    args = [arg for arg in args if not arg.startswith("-")]
    if not args:
        raise UsageError("usage: host [-t type] name [server]")
    conf = conf_of(p)
    name = args[0]
    server = await address_of(args[1]) if len(args) > 1 else (*conf.nameservers, "127.0.0.1")[0]
    names = [reverse_name(name)] if is_ipv4(name) else candidates(name, conf)
    wanted = [type_] if type_ else ["PTR"] if is_ipv4(name) else ["A", "AAAA"]
    rcode = 3
    for candidate in names:
        try:
            answers = [await ask((server, 53), candidate, one, tries=2) for one in wanted]
        except OSError:
            await p.out(";; connection timed out; no servers could be reached\n")
            return 1
        rcode = answers[0].rcode
        lines = []
        for answer in answers:
            for section, owner, _, kind, data in answer.rows:
                if section == 0:
                    verb = {
                        "A": "has address",
                        "AAAA": "has IPv6 address",
                        "CNAME": "is an alias for",
                        "PTR": "domain name pointer",
                        "SRV": "has SRV record",
                    }.get(kind, f"has {kind} record")
                    lines.append(f"{owner.rstrip('.')} {verb} {data}\n")
        if lines:
            await p.out("".join(lines))
            return 0
        if rcode == 0:
            await p.out(f"{candidate.rstrip('.')} has no {wanted[0]} record\n")
            return 0
    await p.out(f"Host {name} not found: {rcode}({dnswire.rcode_name(rcode)})\n")
    return 1


async def _getent(p: Process) -> int:
    if len(p.args) < 1:
        raise UsageError("usage: getent database [key ...]")
    database, keys = p.args[0], p.args[1:]
    hosts = p.view.read("/etc/hosts").decode("utf-8", "replace")
    if database in ("passwd", "group"):
        rows = p.view.read(f"/etc/{database}").decode().splitlines()
        hits = [row for row in rows if not keys or row.split(":")[0] in keys or row.split(":")[2] in keys]
        await p.out("".join(f"{row}\n" for row in hits))
        return 0 if hits else 2
    if database not in ("hosts", "ahosts", "ahostsv4"):
        return await p.fail(f"Unknown database: {database}", 1)
    if not keys:
        for line in hosts.splitlines():
            if words := line.split("#")[0].split():
                await p.out(f"{words[0]:<15} {' '.join(words[1:])}\n")
        return 0
    status = 0
    for key in keys:
        if is_ipv4(key):
            status = max(status, await _getent_address(p, key, hosts))
            continue
        known = parse_hosts(hosts).get(key.lower())
        try:
            found = await asyncio.get_running_loop().getaddrinfo(key, None)
        except OSError:
            status = 2
            continue
        addresses = list(known or dict.fromkeys(str(one[4][0]) for one in found))
        if database == "hosts":
            for address in addresses:
                await p.out(f"{address:<15} {key}\n")
        else:
            for address in addresses:
                for kind in ("STREAM", "DGRAM", "RAW"):
                    await p.out(f"{address:<15} {kind:<6} {key if kind == 'STREAM' else ''}\n")
    return status


async def _getent_address(p: Process, address: str, hosts: str) -> int:
    for line in hosts.splitlines():
        words = line.split("#")[0].split()
        if words[:1] == [address] and len(words) > 1:
            await p.out(f"{address:<15} {' '.join(words[1:])}\n")
            return 0
    for server in conf_of(p).nameservers[:1]:
        try:
            answer = await ask((server, 53), reverse_name(address), "PTR")
        except OSError:
            return 2
        if names := answer.values("PTR"):
            await p.out(f"{address:<15} {names[0].rstrip('.')}\n")
            return 0
    return 2


TOOLS: dict[str, Tool] = {"host": _host, "getent": _getent}
