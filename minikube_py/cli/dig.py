"""`mkpy dig`: a real DNS query, made as a pod: its source address, its search path.

Unlike stock dig it applies the search list, as an application's resolver does; a trailing dot turns that off.
"""

import click

from minikube_py.cli.console import ExitCode, Failure, note
from minikube_py.cli.selection import cluster_option, selected


@click.command("dig")
@cluster_option
@click.option("--from", "from_pod", default=None, metavar="POD", help="Be this pod: name, deployment/x, namespace/x.")
@click.option("-n", "--namespace", default=None, help="Namespace of --from (default: default).")
@click.option("+short", "short", is_flag=True, help="Only the answers.")
@click.argument("question", metavar="NAME")
@click.argument("type_", metavar="[TYPE]", default="A")
def command(name: str, from_pod: str | None, namespace: str | None, short: bool, question: str, type_: str) -> int:
    """Ask the cluster's DNS, as a pod or from outside; exit 1 if the name does not exist."""
    from dnslib import QTYPE, RCODE, DNSRecord

    from minikube_py.cli.caller import caller
    from minikube_py.cni.resolvconf import ResolvConf, candidates
    from minikube_py.cni.resolver import StubResolver

    _, facts = selected(name)
    if type_.upper() not in QTYPE.reverse:
        raise Failure(f'"{type_}" is not a DNS record type; common ones: A, AAAA, SRV, PTR, CNAME, TXT', ExitCode.USAGE)
    as_pod = caller(facts, from_pod, namespace)
    dns = facts["dns"]
    resolver = as_pod.who.resolver or StubResolver(
        ResolvConf((dns["address"],), (), ()), real_port=as_pod.who.real_port, types=("A",)
    )
    tried = candidates(question, resolver.conf)
    reply = None
    for candidate in tried:
        try:
            reply = DNSRecord.parse(resolver.query_blocking(candidate, type_.upper()))
        except TimeoutError as error:
            raise Failure(
                f"{error}. Is CoreDNS running (mkpy get pods -n kube-system), or does a NetworkPolicy cut port 53?"
            ) from None
        if reply.rr:
            break
    assert reply is not None
    if short:
        for record in reply.rr:
            click.echo(record.rdata)
    else:
        click.echo(reply)
        note(
            f";; {len(tried[: tried.index(candidate) + 1])} queries, server {dns['address']}#{dns['port']}"
            + (f", as pod {as_pod.who.namespace}/{as_pod.who.name} ({as_pod.who.ip})" if as_pod.ip else "")
        )
    if reply.header.rcode:
        note(f";; {RCODE[reply.header.rcode]}: tried {', '.join(tried)}")
    return 0 if reply.rr else 1
