"""ip, ifconfig, route, netstat, ss: what a pod sees of its own network.

Stands for iproute2 and net-tools on a pod with one eth0 (a /24 of the node's range, the gateway at .1). Leaves out:
changing anything; counters of interfaces are those of the pod's sockets.
"""

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import namespace

__all__ = ["TOOLS"]


def _network(ip: str) -> tuple[str, str, str]:
    """Return (gateway, network, broadcast) of the pod's /24."""
    base = ip.rpartition(".")[0]
    return f"{base}.1", f"{base}.0", f"{base}.255"


def _mac(ip: str) -> str:
    """Return the hardware address that CNI bridges derive from an address."""
    return "0a:58:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


async def _ip(p: Process) -> int:
    args = [arg for arg in p.args if not arg.startswith("-")]
    brief = any(arg in ("-br", "-brief") for arg in p.args)
    ip = p.container.pod.ip
    gateway, network, broadcast = _network(ip)
    what = args[0] if args else ""
    if any(word in ("add", "del", "set", "change", "replace", "flush") for word in args[1:]):
        await p.err("ip: RTNETLINK answers: Operation not permitted\n")
        return 2
    if what and "address".startswith(what):
        if brief:
            await p.out(f"lo               UNKNOWN        127.0.0.1/8\neth0             UP             {ip}/24\n")
            return 0
        await p.out(
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue qlen 1000\n"
            "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n"
            "    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n"
            "2: eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1500 qdisc noqueue\n"
            f"    link/ether {_mac(ip)} brd ff:ff:ff:ff:ff:ff\n"
            f"    inet {ip}/24 brd {broadcast} scope global eth0\n       valid_lft forever preferred_lft forever\n"
        )
    elif what and "link".startswith(what):
        await p.out(
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue qlen 1000\n"
            "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n"
            "2: eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1500 qdisc noqueue\n"
            f"    link/ether {_mac(ip)} brd ff:ff:ff:ff:ff:ff\n"
        )
    elif what and "route".startswith(what):
        if args[1:2] == ["get"] and len(args) > 2:
            await p.out(f"{args[2]} via {gateway} dev eth0  src {ip} \n")
            return 0
        await p.out(f"default via {gateway} dev eth0 \n{network}/24 dev eth0 scope link  src {ip} \n")
    elif what and "neighbor".startswith(what):
        await p.out(f"{gateway} dev eth0 lladdr {_mac(gateway)} ref 1 used 0/0/0 probes 1 REACHABLE\n")
    else:
        raise UsageError("usage: ip [OPTIONS] address|route|link|neigh [show]", 1)
    return 0


async def _ifconfig(p: Process) -> int:
    ip = p.container.pod.ip
    here = namespace()
    stats = here.stats if here is not None else None
    received, sent = (stats.received, stats.sent) if stats else (0, 0)
    await p.out(
        f"eth0      Link encap:Ethernet  HWaddr {_mac(ip).upper()}  \n"
        f"          inet addr:{ip}  Bcast:{_network(ip)[2]}  Mask:255.255.255.0\n"
        "          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1\n"
        f"          RX bytes:{received}  TX bytes:{sent}\n\n"
        "lo        Link encap:Local Loopback  \n          inet addr:127.0.0.1  Mask:255.0.0.0\n"
        "          UP LOOPBACK RUNNING  MTU:65536  Metric:1\n\n"
    )
    return 0


async def _route(p: Process) -> int:
    gateway, network, _ = _network(p.container.pod.ip)
    await p.out(
        "Kernel IP routing table\n"
        "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
        f"{'0.0.0.0' if '-n' in p.args else 'default':<15} {gateway:<15} 0.0.0.0         UG    0      0        0 eth0\n"
        f"{network:<15} {'0.0.0.0' if '-n' in p.args else '*':<15} 255.255.255.0   U     0      0        0 eth0\n"
    )
    return 0


async def _arp(p: Process) -> int:
    gateway = _network(p.container.pod.ip)[0]
    await p.out(f"? ({gateway}) at {_mac(gateway)} [ether]  on eth0\n")
    return 0


def _listeners() -> list[tuple[str, int]]:
    here = namespace()
    return sorted(here.listeners()) if here is not None else []


async def _netstat(p: Process) -> int:
    flags = "".join(arg[1:] for arg in p.args if arg.startswith("-"))
    if "r" in flags:
        return await _route(p)
    wanted = [kind for kind, letter in (("TCP", "t"), ("UDP", "u")) if letter in flags] or ["TCP", "UDP"]
    title = "only servers" if "l" in flags else "servers and established" if "a" in flags else "w/o servers"
    await p.out(f"Active Internet connections ({title})\n")
    tail = "       PID/Program name" if "p" in flags else ""
    await p.out(f"Proto Recv-Q Send-Q Local Address           Foreign Address         State{tail}\n")
    if "l" in flags or "a" in flags:
        for protocol, port in _listeners():
            if protocol in wanted:
                state = "LISTEN" if protocol == "TCP" else ""
                owner = f"      1/{(p.container.argv[:1] or (p.container.image,))[0]}" if "p" in flags else ""
                local, remote = f"0.0.0.0:{port}", "0.0.0.0:*"
                await p.out(f"{protocol.lower():<5}      0      0 {local:<23} {remote:<23} {state:<11}{owner}\n")
    return 0


async def _ss(p: Process) -> int:
    flags = "".join(arg[1:] for arg in p.args if arg.startswith("-"))
    wanted = [kind for kind, letter in (("TCP", "t"), ("UDP", "u")) if letter in flags] or ["TCP", "UDP"]
    await p.out("Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n")
    if "l" in flags or "a" in flags:
        for protocol, port in _listeners():
            if protocol in wanted:
                state = "LISTEN" if protocol == "TCP" else "UNCONN"
                await p.out(
                    f"{protocol.lower():<5} {state:<6} 0      128    {f'0.0.0.0:{port}':>18} {'0.0.0.0:*':>17}\n"
                )
    return 0


TOOLS: dict[str, Tool] = {
    "ip": _ip,
    "ifconfig": _ifconfig,
    "route": _route,
    "arp": _arp,
    "netstat": _netstat,
    "ss": _ss,
}
