"""dig, as BIND's prints it.

Leaves out: +trace, batch files (-f), DNSSEC validation.
"""

import datetime
from dataclasses import dataclass, field

from minikube_py.cni import dnswire
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.resolvconf import ResolvConf, candidates
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.dns_question import Answer, ask, conf_of, reverse_name
from minikube_py.images.shell.tools.network import address_of, why_not

__all__ = ["TOOLS"]


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
            if not is_ipv4(address):
                raise UsageError(f"Invalid IP address {address}", 1)
            dig.names.append((reverse_name(address), "PTR"))
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
    conf = conf_of(p)
    try:
        server = await address_of(dig.server) if dig.server else (*conf.nameservers, "127.0.0.1")[0]
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
    answer: Answer | None = None
    for candidate in names:
        try:
            answer = await ask(
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


def _dig_text(answer: Answer, dig: _Dig, server: str) -> str:
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


TOOLS: dict[str, Tool] = {"dig": _dig}
