"""The pod's network for blocking code: what runs in `run_in_executor` and `asyncio.to_thread`.

`install()` acts once per process and does nothing outside of a pod's context (`namespace.current`), so programs that
merely import us, and several clusters side by side, see the ordinary `socket` module:

- `socket.getaddrinfo`, `gethostbyname` and `gethostname` answer for the pod;
- `socket.socket.connect`, `connect_ex` and `bind` translate addresses: localhost, 0.0.0.0, ports below 1024;
- an audit hook on `socket.connect` gives the socket the pod's address and asks the pod's egress policy. It also
  sees sockets of C subclasses, but can only look at an address, not change it: hence the functions above.
"""

import asyncio
import errno
import functools
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

from minikube_py.cni.namespace import ANY, NetworkNamespace, current
from minikube_py.cni.splice import IP_BIND_ADDRESS_NO_PORT

__all__ = ["addrinfo", "install", "numeric_only", "port_number"]

_KINDS = ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP), (socket.SOCK_RAW, 0))


def port_number(port: str | bytes | int | None) -> int:
    """Return a port given as number or service name; raise `socket.gaierror` as getaddrinfo does."""
    if port is None or isinstance(port, int):
        return port or 0
    text = port.decode("ascii", "replace") if isinstance(port, bytes) else port
    if not text or text.isdigit():
        return int(text or 0)
    try:
        return socket.getservbyname(text)
    except OSError:
        raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype") from None


def numeric_only(host: str | bytes | None, flags: int, namespace: NetworkNamespace) -> None:
    """Refuse a name when the caller asked for numbers only (AI_NUMERICHOST)."""
    if flags & socket.AI_NUMERICHOST and namespace.known(host) is None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def addrinfo(
    addresses: Sequence[str],
    host: str | bytes | None,
    port: str | bytes | int | None,
    family: int,
    type_: int,
    proto: int,
    flags: int,
) -> list[tuple[Any, ...]]:
    """Return what getaddrinfo returns, for resolved addresses."""
    if family not in (0, socket.AF_INET):
        raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported")
    number = port_number(port)
    kinds = [(kind, protocol) for kind, protocol in _KINDS if type_ in (0, kind) and proto in (0, protocol)]
    if not kinds:
        raise socket.gaierror(socket.EAI_SOCKTYPE, "ai_socktype not supported")
    name = host.decode() if isinstance(host, bytes) else host or ""
    canonical = name if flags & socket.AI_CANONNAME else ""
    return [
        (socket.AF_INET, kind, protocol, canonical, (address, number))
        for address in addresses
        for kind, protocol in kinds
    ]


def _on_the_loop(namespace: NetworkNamespace) -> bool:
    """Blocking here would block the whole cluster."""
    try:
        return asyncio.get_running_loop() is namespace.loop
    except RuntimeError:
        return False


def _resolve(namespace: NetworkNamespace, host: Any) -> Sequence[str]:
    if (address := namespace.known(host)) is not None:
        return (address,)
    if _on_the_loop(namespace):
        raise socket.gaierror(
            socket.EAI_AGAIN,
            f"pod {namespace} looks up {host!r} with a blocking call on the event loop, which would stop the whole "
            "cluster: use loop.getaddrinfo, or asyncio.to_thread around the call",
        )
    return asyncio.run_coroutine_threadsafe(namespace.resolve(host), namespace.loop).result()


def _translated(namespace: NetworkNamespace, sock: socket.socket, address: Any) -> Any:
    """Return the kernel's address for what blocking code wants to connect to."""
    if sock.family != socket.AF_INET or not isinstance(address, tuple) or len(address) != 2:
        return address
    return namespace.real_address(_resolve(namespace, address[0])[0], address[1])


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    namespace = current.get()
    if namespace is None:
        return
    sock, address = args
    if sock.family != socket.AF_INET or not isinstance(address, tuple):
        return
    if (source := namespace.source_for(address[0])) and sock.getsockname() == ("0.0.0.0", 0):
        if sock.type & socket.SOCK_STREAM:
            try:
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError:
                pass  # not Linux: a port is chosen now
        sock.bind((source, 0))
    # Non-blocking sockets are an event loop's: PodLoop.sock_connect has asked already.
    if sock.type == socket.SOCK_STREAM and sock.gettimeout() != 0.0:
        _ask(namespace, address[0], namespace.fabric.apparent_port(address[1]), sock.gettimeout())


def _ask(namespace: NetworkNamespace, ip: str, port: int, timeout: float | None) -> None:
    """Wait in this thread, at most `timeout` seconds, until policy allows the connection."""
    flow = namespace.judged(ip, port)
    if flow is None:
        return
    fabric = namespace.fabric
    verdict = fabric.gate.check(flow)
    if verdict.allowed:
        return
    if _on_the_loop(namespace):
        fabric.denied(flow, verdict)
        raise TimeoutError(errno.ETIMEDOUT, f"connection to {ip}:{port} denied by policy: {verdict.because}")
    waiting = asyncio.run_coroutine_threadsafe(fabric.wait_allowed(flow, verdict, namespace), namespace.loop)
    try:
        waiting.result(timeout)
    except TimeoutError:
        waiting.cancel()
        raise TimeoutError("timed out") from None


_lock = threading.Lock()
_installed = False


def install() -> None:
    """Make the `socket` module context-aware; the second call does nothing."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
    sys.addaudithook(_audit)
    _replace_lookups()
    _replace_methods()


def _replace_lookups() -> None:
    getaddrinfo, gethostbyname, gethostname = socket.getaddrinfo, socket.gethostbyname, socket.gethostname

    @functools.wraps(getaddrinfo)
    def pod_getaddrinfo(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        namespace = current.get()
        if namespace is None:
            return getaddrinfo(host, port, family, type, proto, flags)
        numeric_only(host, flags, namespace)
        return addrinfo(_resolve(namespace, host), host, port, family, type, proto, flags)

    @functools.wraps(gethostbyname)
    def pod_gethostbyname(hostname: str) -> str:
        namespace = current.get()
        return gethostbyname(hostname) if namespace is None else _resolve(namespace, hostname)[0]

    @functools.wraps(gethostname)
    def pod_gethostname() -> str:
        namespace = current.get()
        return gethostname() if namespace is None else namespace.hostname

    socket.getaddrinfo = pod_getaddrinfo
    socket.gethostbyname = pod_gethostbyname
    socket.gethostname = pod_gethostname


def _replace_methods() -> None:
    connect, connect_ex, bind = socket.socket.connect, socket.socket.connect_ex, socket.socket.bind

    @functools.wraps(connect)
    def pod_connect(self: socket.socket, address: Any) -> None:
        namespace = current.get()
        return connect(self, address if namespace is None else _translated(namespace, self, address))

    @functools.wraps(connect_ex)
    def pod_connect_ex(self: socket.socket, address: Any) -> int:
        namespace = current.get()
        return connect_ex(self, address if namespace is None else _translated(namespace, self, address))

    @functools.wraps(bind)
    def pod_bind(self: socket.socket, address: Any) -> None:
        namespace = current.get()
        if namespace is not None and self.family == socket.AF_INET and isinstance(address, tuple):
            host, port = address
            # ("", 0) is how clients ask for any port: `connect` gives them their address.
            if namespace.known(host) == namespace.ip and (port or host not in ANY):
                address = (namespace.ip, namespace.fabric.real_port(port))
        return bind(self, address)

    socket.socket.connect = pod_connect  # type: ignore[method-assign,assignment]
    socket.socket.connect_ex = pod_connect_ex  # type: ignore[method-assign,assignment]
    socket.socket.bind = pod_bind  # type: ignore[method-assign,assignment]
