"""`mkpy curl`: the real curl, made as a pod: its source address, its names, its policies.

    mkpy curl --from web http://api/menu
      = curl --interface 127.244.1.5 --connect-to api:80:127.96.23.7:80 http://api/menu

Names are resolved by asking the cluster's DNS as that pod would (search path, ndots); Ingress hosts are reached
from outside (no --from) through 127.0.0.1. The cluster's authority is trusted where the cluster is called.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import click

from minikube_py.cli.console import ExitCode, Failure, note
from minikube_py.cli.selection import cluster_option, selected


@click.command("curl", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@cluster_option
@click.option("--from", "from_pod", default=None, metavar="POD", help="Be this pod: name, deployment/x, namespace/x.")
@click.option("-n", "--namespace", default=None, help="Namespace of --from (default: default).")
@click.option("--show", is_flag=True, help="Print the curl command to stderr.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[curl's own flags] URL...")
def command(name: str, from_pod: str | None, namespace: str | None, show: bool, arguments: tuple[str, ...]) -> int:
    """Run the real curl, as a pod or from outside."""
    from minikube_py.cli.caller import caller

    _, facts = selected(name)
    if not (curl := shutil.which("curl")):
        raise Failure("curl is not installed; install it, or use: mkpy exec POD -- wget -qO- URL", ExitCode.USAGE)
    as_pod = caller(facts, from_pod, namespace)
    options: list[str] = ["--interface", as_pod.ip] if as_pod.ip else []
    ours = False
    for host, port in dict.fromkeys(_targets(arguments)):
        try:
            ways = {port: as_pod.locate(host, port)}
        except socket.gaierror as error:
            note(f"curl: (6) Could not resolve host: {host}\n{as_pod.explain_name(host, error)}")
            return 6
        if door := as_pod.who.door(host):
            ways = {**door, **ways}  # a redirect may lead from one to the other
        ours = ours or bool(door) or as_pod.who.inside(ways[port][0])
        for asked, (address, real_port) in ways.items():
            if (address, real_port) != (host, asked):
                options += ["--connect-to", f"{host}:{asked}:{address}:{real_port}"]
    if ours and facts["ca"] and "--cacert" not in arguments:
        options += ["--cacert", facts["ca"]]
    full = [curl, *options, *arguments]
    if show:
        import shlex

        note(shlex.join(full))
    code = subprocess.run(full, check=False).returncode
    if code in _SYMPTOMS:
        host, port = next(_targets(arguments), ("", 0))
        note(as_pod.explain(_SYMPTOMS[code], f"{host}:{port}" if host else ""))
    return code


_SYMPTOMS = {
    7: "refused: nothing listens there, or the Service has no ready endpoints",
    28: "timed out: a NetworkPolicy drops it, or nothing answers",
    52: "the pod closed the connection without an answer",
    56: "the connection was reset: the pod died, or a policy rejects it",
}


def _targets(arguments: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield (host, port) of each URL among curl's arguments; a bare host:port/path counts, as it does for curl."""
    takes_value = False
    for argument in arguments:
        if takes_value:
            takes_value = False
            continue
        if argument.startswith("-"):
            takes_value = argument in _VALUED
            if argument == "--url":
                takes_value = False
            continue
        url = urlsplit(argument if "://" in argument else f"http://{argument}")
        if url.hostname:
            default = {"https": 443, "wss": 443, "ftp": 21}.get(url.scheme, 80)
            yield url.hostname, url.port or default


_VALUED = frozenset(
    [
        "-H",
        "--header",
        "-X",
        "--request",
        "-d",
        "--data",
        "--data-raw",
        "--data-binary",
        "--data-urlencode",
        "-o",
        "--output",
        "-m",
        "--max-time",
        "--connect-timeout",
        "-u",
        "--user",
        "-A",
        "--user-agent",
        "-e",
        "--referer",
        "-b",
        "--cookie",
        "-c",
        "--cookie-jar",
        "-F",
        "--form",
        "-T",
        "--upload-file",
        "-w",
        "--write-out",
        "--retry",
        "--retry-delay",
        "--limit-rate",
        "-r",
        "--range",
        "--cacert",
        "--cert",
        "--key",
        "--interface",
        "--resolve",
        "--connect-to",
        "-x",
        "--proxy",
        "--max-redirs",
        "-K",
        "--config",
        "--json",
        "-E",
        "--ciphers",
        "--noproxy",
        "--url-query",
        "-Y",
        "-y",
        "-z",
        "-D",
        "--dump-header",
    ]
)
