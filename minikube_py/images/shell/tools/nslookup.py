"""nslookup: busybox' in busybox and alpine images, BIND's in all others.

Leaves out: the interactive mode.
"""

from minikube_py.cni import dnswire
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.resolvconf import candidates
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.dns_question import Answer, ask_in_turn, conf_of, reverse_name
from minikube_py.images.shell.tools.network import address_of, why_not

__all__ = ["TOOLS"]


async def _nslookup(p: Process) -> int:
    """busybox' nslookup (1.31 and later): each name of the search list in turn, A and AAAA."""
    types: list[str] = []
    port, seconds, rest = 53, 5.0, []
    for arg in p.args:
        if arg.startswith("-") and "=" in arg:
            key, _, value = arg[1:].partition("=")
            if key in ("type", "query", "querytype", "q"):
                types.append(value.upper())
            elif key == "port":
                port = int(value)
            elif key == "timeout":
                seconds = float(value)
        elif arg.startswith("-") and arg not in ("-debug", "-"):
            raise UsageError(f"unrecognized option: {arg.lstrip('-')[:1]}")
        elif not arg.startswith("-"):
            rest.append(arg)
    if not rest:
        await p.err(
            "BusyBox v1.36.1 multi-call binary.\n\nUsage: nslookup [-type=QUERY_TYPE] [-debug] HOST [DNS_SERVER]\n"
        )
        return 1
    bind = "busybox" not in p.container.image and "alpine" not in p.container.image
    conf = conf_of(p)
    name = rest[0]
    try:
        servers = [await address_of(rest[1])] if len(rest) > 1 else list(conf.nameservers[:3])
    except OSError:
        return await p.fail(f"bad address '{rest[1]}'")
    if not servers:
        return await p.fail("no nameserver in /etc/resolv.conf")
    if is_ipv4(name):
        names, wanted = [reverse_name(name)], ["PTR"]
    else:
        wanted = types or ["A", "AAAA"]
        names = candidates(name, conf) if "." not in name.rstrip(".") or conf.ndots > name.count(".") else [name]
        if name.endswith("."):
            names = [name]
        elif not bind and "." in name and rest[0].count(".") >= conf.ndots:
            names = [f"{name}."]
    if bind:
        return await _nslookup_bind(p, name, names, types, servers, port, seconds)
    return await _nslookup_busybox(p, names, wanted, servers, port, seconds)


async def _nslookup_busybox(
    p: Process, names: list[str], wanted: list[str], servers: list[str], port: int, seconds: float
) -> int:
    results: list[tuple[str, list[Answer]]] = []
    used = servers[0]
    for candidate in names:
        try:
            used, answers = await ask_in_turn(servers, port, candidate, wanted, seconds)
        except TimeoutError:
            await p.out(";; connection timed out; no servers could be reached\n\n")
            return 1
        except OSError as error:
            await p.err(f"nslookup: read: {why_not(error)}\n")
            await p.out(";; connection timed out; no servers could be reached\n\n")
            return 1
        results.append((candidate, answers))
        if any(answer.rcode == 0 and answer.rows and answer.values(*wanted, "CNAME") for answer in answers):
            break
    await p.out(f"Server:\t\t{used}\nAddress:\t{used}:{port}\n\n")
    found = [pair for pair in results if any(answer.rcode == 0 for answer in pair[1])]
    status = 0 if found else 1
    for candidate, answers in results:
        shown = candidate.rstrip(".")
        if found and (candidate, answers) not in found:
            continue
        for answer in answers:
            if answer.rcode:
                await p.out(f"** server can't find {shown}: {dnswire.rcode_name(answer.rcode)}\n\n")
                continue
            text = _busybox_rows(answer)
            if text:
                await p.out(text + "\n")
            elif len(answers) == 1 or not any(_busybox_rows(other) for other in answers):
                await p.out(f"*** Can't find {shown}: No answer\n\n")
    return status


def _busybox_rows(answer: Answer) -> str:
    lines = []
    for section, owner, _, type_, data in answer.rows:
        name, value = owner.rstrip("."), data.rstrip(".")
        if section:
            continue
        match type_:
            case "A" | "AAAA":
                lines.append(f"Name:\t{name}\nAddress: {value}\n")
            case "CNAME":
                lines.append(f"{name}\tcanonical name = {value}\n")
            case "PTR":
                lines.append(f"{name}\tname = {value}\n")
            case "NS":
                lines.append(f"{name}\tnameserver = {value}\n")
            case "SRV":
                lines.append(f"{name}\tservice = {value}\n")
            case "MX":
                lines.append(f"{name}\tmail exchanger = {value}\n")
            case "TXT":
                lines.append(f"{name}\ttext = {data}\n")
            case _:
                lines.append(f"{name}\t{type_} = {value}\n")
    return "".join(lines)


async def _nslookup_bind(
    p: Process, name: str, names: list[str], types: list[str], servers: list[str], port: int, seconds: float
) -> int:
    """BIND's nslookup, of the dnsutils images: the search list ends at the first name that exists."""
    wanted = types or (["PTR"] if is_ipv4(name) else ["A", "AAAA"])
    answers: list[Answer] = []
    used, last = servers[0], names[-1]
    for candidate in names:
        try:
            used, answers = await ask_in_turn(servers, port, candidate, wanted, seconds)
        except OSError:
            await p.out(";; connection timed out; no servers could be reached\n\n")
            return 1
        last = candidate
        if any(answer.rcode == 0 for answer in answers):
            break
    await p.out(f"Server:\t\t{used}\nAddress:\t{used}#{port}\n\n")
    if all(answer.rcode for answer in answers):
        shown = name if len(names) > 1 else last.rstrip(".")
        await p.out(f"** server can't find {shown}: {dnswire.rcode_name(answers[0].rcode)}\n\n")
        return 1
    text = "".join(map(_busybox_rows, answers)).replace("\tservice =", "\tservice =")
    await p.out((text or f"*** Can't find {name}: No answer\n") + "\n")
    return 0


TOOLS: dict[str, Tool] = {"nslookup": _nslookup}
