"""`kubernetes [ZONES...] { pods, ttl, fallthrough, endpoint_pod_names, namespaces, noendpoints, ignore }`.

Source: https://coredns.io/plugins/kubernetes/
"""

from minikube_py.coredns.answer import Options, answer
from minikube_py.coredns.corefile import Directive, zones_of
from minikube_py.coredns.plugins.plugin import Block, Handler, Outcome, Query, Step

__all__ = ["options_of", "setup"]


def options_of(directive: Directive, block: Block) -> Options:
    """Read the block's properties."""
    zones = zones_of(directive.args, directive.line) or block.zones
    values: dict[str, object] = {"zones": zones, "addresses": block.context.addresses}
    for line in directive.block:
        match line.name, line.args:
            case "pods", ("disabled" | "insecure" | "verified" as mode,):
                values["pods"] = mode
            case "pods", _:
                line.fail("plugin/kubernetes: pods is one of disabled, insecure, verified")
            case "ttl", (text,) if text.isdigit() and int(text) <= 3600:
                values["ttl"] = int(text)
            case "ttl", _:
                line.fail("plugin/kubernetes: ttl must be in range [0, 3600]")
            case "fallthrough", names:
                values["fallthrough"] = zones_of(names, line.line) or (".",)
            case "endpoint_pod_names", ():
                values["endpoint_pod_names"] = True
            case "namespaces", (_, *_):
                values["namespaces"] = frozenset(name.lower() for name in line.args)
            case "noendpoints", ():
                values["no_endpoints"] = True
            case "ignore", ("empty_service" | "emptyservice",):
                values["ignore_empty_service"] = True
            case (("resyncperiod" | "upstream" | "startup_timeout" | "apiserver_qps" | "apiserver_burst"), _):
                pass  # they tune a connection that we don't have, or do nothing in CoreDNS either
            case _:
                line.unknown("kubernetes")
    return Options(**values)  # type: ignore[arg-type]  # each was matched above


def setup(directive: Directive, block: Block) -> Step:
    options = options_of(directive, block)
    block.verified_pods = block.verified_pods or options.pods == "verified"

    def step(query: Query, next_: Handler) -> Outcome:
        found = answer(query.question, query.zone, options)
        return next_(query) if found is None else found

    return step
