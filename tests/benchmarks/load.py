"""A load generator of its own process, so that it takes no time from what is measured: epoll, nothing else.

    python load.py requests|connections|datagrams|bulk ADDRESS PORT TOTAL CLIENTS

It prints operations (of `bulk`: megabytes) per second and the median seconds of one operation.
"""

import selectors
import socket
import statistics
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


def connected(address: tuple[str, int], kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    if kind is socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    sock.connect_ex(address)
    return sock


def exchange(address: tuple[str, int], total: int, clients: int, *, anew: bool, datagrams: bool) -> list[float]:
    """Ask `total` times, `clients` at once; each time over a new connection, or over those that there are."""
    kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    selector = selectors.EpollSelector()
    took: list[float] = []
    left = total

    def begin() -> None:
        selector.register(connected(address, kind), selectors.EVENT_WRITE, [time.perf_counter(), b""])

    for _ in range(clients):
        begin()
    open_ = clients
    while open_:
        for key, mask in selector.select(2.0) or [(None, 0)]:
            if key is None:
                raise SystemExit("no answer for two seconds")
            sock, state = key.fileobj, key.data
            if mask & selectors.EVENT_WRITE:
                sock.send(b"hostname" if datagrams else REQUEST)
                selector.modify(sock, selectors.EVENT_READ, state)
                continue
            data = sock.recv(65536)
            if not data:
                raise SystemExit("closed without an answer")
            state[1] += data
            if not datagrams and not state[1].endswith(b"ok"):
                continue
            now = time.perf_counter()
            took.append(now - state[0])
            left -= 1
            if left < clients:
                open_ -= 1
            if anew or left < clients:
                selector.unregister(sock)
                sock.close()
                if left >= clients:
                    begin()
            else:
                state[:] = [now, b""]
                sock.send(b"hostname" if datagrams else REQUEST)
    return took


def bulk(address: tuple[str, int], total: int, clients: int) -> list[float]:
    """Receive `total` megabytes over each of `clients` connections."""
    buffer = bytearray(1 << 20)
    selector = selectors.EpollSelector()
    for _ in range(clients):
        sock = socket.create_connection(address)
        sock.sendall(total.to_bytes(4, "big"))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    open_ = clients
    while open_:
        for key, _ in selector.select():
            if not key.fileobj.recv_into(buffer):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                open_ -= 1
    return []


def main() -> None:
    mode, host, port, total, clients = sys.argv[1:]
    address, number, several = (host, int(port)), int(total), int(clients)
    started = time.perf_counter()
    if mode == "bulk":
        took, number = bulk(address, number, several), number * several
    else:
        took = exchange(address, number, several, anew=mode == "connections", datagrams=mode == "datagrams")
    print(number / (time.perf_counter() - started), statistics.median(took) if took else 0.0)


if __name__ == "__main__":
    main()
