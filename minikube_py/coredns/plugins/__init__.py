"""The plugin chain: one plugin = one `setup` function, in the order of `ORDER`.

To add a plugin, write `plugins/<name>.py` with one function and put it in `ORDER` where queries shall meet it:

    def setup(directive: Directive, block: Block) -> Step | None:
        ...            # read directive.args and directive.block; directive.fail("...") names the line
        return step    # or None, if the plugin only sets something of the block (log, cache, health, ...)

    def step(query: Query, next_: Handler) -> Outcome:
        ...            # pure: answer, or `return next_(query)`; a wish to ask elsewhere is a `Forward`

The order of the Corefile's lines doesn't matter, as in CoreDNS, but for several lines of one plugin.
"""

from minikube_py.apimachinery.names import nearest
from minikube_py.coredns.corefile import ServerBlock
from minikube_py.coredns.message import Answer
from minikube_py.coredns.plugins import forward, hosts, kubernetes, rewrite, settings, template
from minikube_py.coredns.plugins.plugin import Block, Context, Forward, Handler, Outcome, Query, Setup, Step

__all__ = ["ORDER", "Block", "Context", "Forward", "Handler", "Outcome", "Query", "build", "chain"]

# CoreDNS' own order (plugin.cfg): a query meets them from top to bottom.
ORDER: dict[str, Setup] = {
    "bufsize": settings.bufsize,
    "reload": settings.reload,
    "ready": settings.ready,
    "health": settings.health,
    "prometheus": settings.prometheus,
    "errors": settings.errors,
    "log": settings.log,
    "loadbalance": settings.loadbalance,
    "cache": settings.cache,
    "rewrite": rewrite.setup,
    "template": template.setup,
    "hosts": hosts.setup,
    "kubernetes": kubernetes.setup,
    "loop": settings.loop,
    "forward": forward.setup,
}

_ELSEWHERE = frozenset(
    """acl any auto autopath azure bind cancel chaos clouddns debug dns64 dnssec dnstap erratic etcd file geoip grpc
    grpc_server header https https3 import k8s_external local metadata minimal multisocket nomad nsid pprof quic
    root route53 secondary sign timeouts tls trace transfer tsig view whoami""".split()  # noqa: SIM905 - a list to read
)
"""Directives of CoreDNS itself that aren't emulated."""

_ONCE = frozenset({"kubernetes", "hosts", "cache", "health", "ready", "prometheus", "loadbalance", "errors"})


def build(block: ServerBlock, context: Context) -> Block:
    """Set up one server block.

    Error handling: CorefileError naming the line of an unknown directive, or of one that isn't emulated.
    """
    built = Block(block.zones, block.port, context)
    seen: set[str] = set()
    for directive in block.directives:
        if directive.name not in ORDER:
            known = ", ".join(ORDER)
            if directive.name in _ELSEWHERE:
                directive.fail(f"directive '{directive.name}' is not emulated; take it out (emulated are: {known})")
            hint = nearest(directive.name, ORDER)
            directive.fail(
                f"Unknown directive '{directive.name}'"
                + (f"; did you mean '{hint}'?" if hint else f" (known: {known})")
            )
        if directive.name in seen and directive.name in _ONCE:
            directive.fail(f"plugin/{directive.name}: this plugin can only be used once per Server Block")
        seen.add(directive.name)
    for name, setup in ORDER.items():
        for directive in block.directives:
            if directive.name == name:
                step = setup(directive, built)
                built.enabled.append(name)
                if step is not None:
                    built.steps.append((name, step))
    return built


def chain(steps: list[tuple[str, Step]]) -> Handler:
    """Join the steps; what nobody answers is SERVFAIL, as in CoreDNS."""

    def end(last: str) -> Handler:
        return lambda query: Answer(
            "SERVFAIL", authoritative=False, why=f"plugin/{last}: no next plugin found" if last else "no plugin"
        )

    handler = end(steps[-1][0] if steps else "")
    for _, step in reversed(steps):
        handler = _link(step, handler)
    return handler


def _link(step: Step, next_: Handler) -> Handler:
    return lambda query: step(query, next_)
