"""registry.k8s.io/e2e-test-images/agnhost: Kubernetes' own network test program.

    netexec           HTTP and UDP endpoints for tests of pods' network
    serve_hostname    a pod's name over HTTP, TCP or UDP
    connect           one connection, judged by its exit code
    guestbook         the guestbook of the examples, with replicas
    servers           porter, no-snat-test, port-forward-tester, liveness, grpc-health-checking, test-webserver
    printers          subcommands that print and end: dns-suffix, etc-hosts, mounttest, logs-generator, …

By `args`, by `command: [/agnhost, …]`, and by `kubectl exec POD -- /agnhost …`.
To add a subcommand: a coroutine in the module of its kind, and its name in `SUBCOMMANDS`.
Source: https://github.com/kubernetes/kubernetes/tree/master/test/images/agnhost. Leaves out: SCTP, the webhook,
audit and mTLS subcommands, resource-consumer (it would take this machine's CPU from the cluster), `net`, `nettest`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from minikube_py.images.agnhost import connect, guestbook, netexec, printers, serve_hostname, servers
from minikube_py.images.container import Container
from minikube_py.images.flags import Flags, parse_flags

__all__ = ["IMAGES", "SUBCOMMANDS", "main"]

IMAGES = ("*/agnhost", "agnhost", "*/netexec", "*/serve-hostname", "*/serve_hostname", "*/porter")

Subcommand: TypeAlias = Callable[[Container, Flags], Awaitable[int]]

SUBCOMMANDS: Mapping[str, Subcommand] = {
    "connect": connect.connect,
    "dns-server-list": printers.dns_server_list,
    "dns-suffix": printers.dns_suffix,
    "entrypoint-tester": printers.entrypoint_tester,
    "etc-hosts": printers.etc_hosts,
    "fake-gitserver": servers.fake_gitserver,
    "grpc-health-checking": servers.grpc_health_checking,
    "guestbook": guestbook.guestbook,
    "inclusterclient": printers.inclusterclient,
    "liveness": servers.liveness,
    "logs-generator": printers.logs_generator,
    "mounttest": printers.mounttest,
    "netexec": netexec.netexec,
    "no-snat-test": servers.no_snat_test,
    "no-snat-test-proxy": servers.no_snat_test_proxy,
    "pause": servers.pause,
    "port-forward-tester": servers.port_forward_tester,
    "porter": servers.porter,
    "serve-hostname": serve_hostname.serve_hostname,
    "test-webserver": servers.test_webserver,
}
_REFUSED = (
    *("audit-proxy", "crd-conversion-webhook", "mtlsclient", "mtlsserver", "net", "nettest", "openidmetadata"),
    *("resource-consumer", "resource-consumer-controller", "tcp-close-wait", "tcp-reset", "webhook", "stress"),
)
_SWITCHES = ("tcp", "udp", "http", "close", "infinite-retry")


async def main(container: Container) -> int:
    """Run the subcommand; an unknown one is an error, as in cobra."""
    argv = list(container.argv)
    if argv and argv[0].rpartition("/")[2] == "agnhost":
        argv = argv[1:]
    name = argv[0] if argv else "pause"
    subcommand = SUBCOMMANDS.get(name)
    if subcommand is not None:
        return await subcommand(container, parse_flags(argv[1:], switches=_SWITCHES))
    if name in ("help", "--help", "-h"):
        container.print(f"{__doc__}\nAvailable Commands:\n  " + "\n  ".join(sorted(SUBCOMMANDS)))
        return 0
    if name in _REFUSED:
        container.print(
            f"Error: this stand-in of agnhost has no {name}; to run the real one, map the image to a program of this "
            f'machine: images: {{"{container.image}": {{command: [...]}}}}'
        )
        return 1
    container.print(f'Error: unknown command "{name}" for "app"\nRun \'app --help\' for usage.')
    return 1
