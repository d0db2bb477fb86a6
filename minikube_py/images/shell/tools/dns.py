"""nslookup (busybox'), dig and host (BIND's), getent: DNS as the pod asks it, real queries to its nameservers.

Leaves out: dig's +trace and batch files, nslookup's interactive mode, DNSSEC validation.
"""

import asyncio
import datetime
import random
import time
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from minikube_py.cni import dnsclient, dnswire
from minikube_py.cni.resolvconf import ResolvConf, candidates, parse_hosts
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import why_not

__all__ = ["TOOLS"]


def _conf(p: Process) -> ResolvConf:
    """Read resolv.conf as it is now in the container: who edits it sees the effect."""
    try:
        return ResolvConf.parse(p.view.read("/etc/resolv.conf").decode("utf-8", "replace"))
    except OSError:
        return ResolvConf()


@dataclass(slots=True)
class _Answer:
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


async def _ask(server: tuple[str, int], name: str, type_: str, **how: Any) -> _Answer:
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
    return _Answer(data, tcp, time.monotonic() - started, _rows(data))


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


def _reverse(address: str) -> str:
    return IPv4Address(address).reverse_pointer + "."


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


async def _server_address(text: str) -> str:
    if _is_address(text):
        return text
    found = await asyncio.get_running_loop().getaddrinfo(text, None)
    return str(found[0][4][0])


# nslookup


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
    conf = _conf(p)
    name = rest[0]
    try:
        servers = [await _server_address(rest[1])] if len(rest) > 1 else list(conf.nameservers[:3])
    except OSError:
        return await p.fail(f"bad address '{rest[1]}'")
    if not servers:
        return await p.fail("no nameserver in /etc/resolv.conf")
    if _is_address(name):
        names, wanted = [_reverse(name)], ["PTR"]
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


async def _first_server(
    servers: list[str], port: int, name: str, wanted: list[str], seconds: float
) -> tuple[str, list[_Answer]]:
    """Ask the servers in turn; return the first that answers.

    Error handling: TimeoutError, OSError of the last.
    """
    failure: OSError = TimeoutError()
    for server in servers:
        try:
            return server, [await _ask((server, port), name, type_, seconds=seconds, tries=2) for type_ in wanted]
        except OSError as error:
            failure = error
    raise failure


async def _nslookup_busybox(
    p: Process, names: list[str], wanted: list[str], servers: list[str], port: int, seconds: float
) -> int:
    results: list[tuple[str, list[_Answer]]] = []
    used = servers[0]
    for candidate in names:
        try:
            used, answers = await _first_server(servers, port, candidate, wanted, seconds)
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


def _busybox_rows(answer: _Answer) -> str:
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
    wanted = types or (["PTR"] if _is_address(name) else ["A", "AAAA"])
    answers: list[_Answer] = []
    used, last = servers[0], names[-1]
    for candidate in names:
        try:
            used, answers = await _first_server(servers, port, candidate, wanted, seconds)
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


# dig

_FLAGS = (
    ("qr", 0x8000),
    ("aa", 0x0400),
    ("tc", 0x0200),
    ("rd", 0x0100),
    ("ra", 0x0080),
    ("ad", 0x0020),
    ("cd", 0x0010),
)
_OPCODES = {0: "QUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE"}


@dataclass(slots=True)
class _Dig:
    """What the command line asks for."""

    server: str = ""
    port: int = 53
    names: list[tuple[str, str]] = field(default_factory=list)
    short: bool = False
    tcp: bool = False
    search: bool = False
    seconds: float = 5.0
    tries: int = 3
    recursion: bool = True
    edns: int = 1232
    hidden: set[str] = field(default_factory=set)
    ignore: bool = False


def _read_dig(args: list[str]) -> _Dig:
    dig = _Dig()
    name, type_, queue = "", "A", list(args)
    chosen = False
    while queue:
        arg = queue.pop(0)
        if arg.startswith("@"):
            dig.server = arg[1:]
        elif arg.startswith("+"):
            _dig_flag(dig, arg[1:])
        elif arg in ("-p", "-t", "-q", "-b", "-c"):
            value = queue.pop(0) if queue else ""
            if arg == "-p":
                dig.port = int(value)
            elif arg == "-t":
                type_, chosen = value.upper(), True
            elif arg == "-q":
                name = value
        elif arg == "-x":
            address = queue.pop(0) if queue else ""
            if not _is_address(address):
                raise UsageError(f"Invalid IP address {address}", 1)
            dig.names.append((_reverse(address), "PTR"))
        elif arg in ("-4", "-6", "-u", "-r") or (arg.upper() in ("IN", "CH", "HS") and name):
            continue
        elif arg.upper() in dnswire.TYPES and (name or arg.isupper()) and not chosen:
            type_, chosen = arg.upper(), True
        else:
            if name:
                dig.names.append((name, type_))
                type_, chosen = "A", False
            name = arg
    if name or not dig.names:
        dig.names.append((name, type_) if name else (".", "NS"))
    return dig


def _dig_flag(dig: _Dig, flag: str) -> None:
    key, _, value = flag.partition("=")
    on = not key.startswith("no")
    key = key if on else key[2:]
    match key:
        case "short":
            dig.short = on
        case "tcp" | "vc":
            dig.tcp = on
        case "search" | "showsearch":
            dig.search = on
        case "time" | "timeout":
            dig.seconds = max(float(value or 5), 1)
        case "tries":
            dig.tries = max(int(value or 1), 1)
        case "retry":
            dig.tries = int(value or 0) + 1
        case "recurse":
            dig.recursion = on
        case "edns":
            dig.edns = 1232 if on else 0
        case "bufsize":
            dig.edns = int(value or 1232)
        case "ignore":
            dig.ignore = on
        case "all":
            everything = {"comments", "cmd", "question", "answer", "authority", "additional", "stats"}
            dig.hidden = set() if on else everything
        case _:
            (dig.hidden.discard if on else dig.hidden.add)(key)


async def _dig(p: Process) -> int:
    if p.args[:1] == ["-v"]:
        await p.err("DiG 9.18.28\n")
        return 0
    dig = _read_dig(p.args)
    conf = _conf(p)
    try:
        server = await _server_address(dig.server) if dig.server else (*conf.nameservers, "127.0.0.1")[0]
    except OSError:
        await p.err(f"dig: couldn't get address for '{dig.server}': not found\n")
        return 10
    code = 0
    for name, type_ in dig.names:
        try:
            dnswire.type_number(type_)
            dnswire.labels_of(name)
        except ValueError:
            await p.err(f"dig: '{name}' is not a legal IDNA2008 name (string contains invalid label), use +noidnin\n")
            code = 1
            continue
        code = max(code, await _dig_one(p, dig, conf, server, name, type_))
    return code


async def _dig_one(p: Process, dig: _Dig, conf: ResolvConf, server: str, name: str, type_: str) -> int:
    names = candidates(name, conf) if dig.search and not name.endswith(".") else [name.rstrip(".") + "."]
    head = f"\n; <<>> DiG 9.18.28 <<>> {' '.join(p.args)}\n;; global options: +cmd\n"
    answer: _Answer | None = None
    for candidate in names:
        try:
            answer = await _ask(
                (server, dig.port),
                candidate,
                type_,
                seconds=dig.seconds,
                tries=dig.tries,
                tcp=dig.tcp,
                edns=dig.edns,
                recursion=dig.recursion,
                ignore=dig.ignore,
            )
        except TimeoutError:
            text = f";; communications error to {server}#{dig.port}: timed out\n" * dig.tries
            await p.out(
                ("" if dig.short else head) + text + ("" if dig.short else ";; no servers could be reached\n\n")
            )
            return 9
        except OSError as error:
            why = why_not(error).lower()
            text = f";; communications error to {server}#{dig.port}: {why}\n" * dig.tries
            await p.out(
                ("" if dig.short else head) + text + ("" if dig.short else ";; no servers could be reached\n\n")
            )
            return 9
        if answer.rcode == 0 and any(row[0] == 0 for row in answer.rows):
            break
    assert answer is not None
    if dig.short:
        await p.out("".join(f"{row[4]}\n" for row in answer.rows if row[0] == 0))
        return 0
    await p.out(("" if "cmd" in dig.hidden else head) + _dig_text(answer, dig, server))
    return 0


def _dig_text(answer: _Answer, dig: _Dig, server: str) -> str:
    """Return a reply as dig prints it."""
    head = dnswire.header(answer.data)
    hidden = dig.hidden
    out: list[str] = []
    counts = [head.questions, head.answers, head.authorities, head.additionals]
    if "comments" not in hidden:
        flags = " ".join(name for name, bit in _FLAGS if head.flags & bit)
        out.append(
            f";; Got answer:\n;; ->>HEADER<<- opcode: {_OPCODES.get(head.flags >> 11 & 15, 'QUERY')}, "
            f"status: {dnswire.rcode_name(head.rcode)}, id: {head.id}\n;; flags: {flags}; QUERY: {counts[0]}, "
            f"ANSWER: {counts[1]}, AUTHORITY: {counts[2]}, ADDITIONAL: {counts[3]}\n"
        )
        if head.flags & 0x0100 and not head.flags & 0x0080:
            out.append(";; WARNING: recursion requested but not available\n")
        out.append("\n")
        size = next((rr.klass for rr in dnswire.records(answer.data) if rr.type == 41), None)
        if size is not None:
            out.append(f";; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: {size}\n")
    if "question" not in hidden:
        name, end = dnswire.decode_name(answer.data, 12)
        type_ = dnswire.type_name(int.from_bytes(answer.data[end : end + 2], "big"))
        title = "" if "comments" in hidden else ";; QUESTION SECTION:\n"
        out.append(f"{title};{_padded(name, 31)}IN\t{type_}\n\n")
    for number, word in enumerate(("answer", "authority", "additional")):
        rows = [row for row in answer.rows if row[0] == number]
        if rows and word not in hidden:
            if "comments" not in hidden:
                out.append(f";; {word.upper()} SECTION:\n")
            out.extend(f"{_padded(owner, 24)}{ttl}\tIN\t{type_}\t{data}\n" for _, owner, ttl, type_, data in rows)
            out.append("\n")
    if "stats" not in hidden:
        now = datetime.datetime.now(datetime.UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
        how = "TCP" if answer.tcp else "UDP"
        out.append(
            f";; Query time: {round(answer.seconds * 1000)} msec\n;; SERVER: {server}#{dig.port}({server}) ({how})\n"
            f";; WHEN: {now}\n;; MSG SIZE  rcvd: {len(answer.data)}\n\n"
        )
    return "".join(out)


def _padded(text: str, width: int) -> str:
    """Pad with tabs to a column, as dig does; at least one."""
    tabs = max((width - len(text) + 7) // 8, 1)
    return text + "\t" * tabs


# host and getent


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
    conf = _conf(p)
    name = args[0]
    server = await _server_address(args[1]) if len(args) > 1 else (*conf.nameservers, "127.0.0.1")[0]
    names = [_reverse(name)] if _is_address(name) else candidates(name, conf)
    wanted = [type_] if type_ else ["PTR"] if _is_address(name) else ["A", "AAAA"]
    rcode = 3
    for candidate in names:
        try:
            answers = [await _ask((server, 53), candidate, one, tries=2) for one in wanted]
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
        if _is_address(key):
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
    for server in _conf(p).nameservers[:1]:
        try:
            answer = await _ask((server, 53), _reverse(address), "PTR")
        except OSError:
            return 2
        if names := answer.values("PTR"):
            await p.out(f"{address:<15} {names[0].rstrip('.')}\n")
            return 0
    return 2


TOOLS: dict[str, Tool] = {"nslookup": _nslookup, "dig": _dig, "host": _host, "getent": _getent}
