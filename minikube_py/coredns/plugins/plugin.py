"""What a plugin of the chain is: values that pass through it, and what it may set up."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from minikube_py.coredns.corefile import Directive
from minikube_py.coredns.message import Answer, Question
from minikube_py.coredns.zone import Zone

__all__ = [
    "Block",
    "CacheRule",
    "Context",
    "Forward",
    "Handler",
    "LogRule",
    "Outcome",
    "Query",
    "Setup",
    "Step",
    "Upstream",
]


class Query(NamedTuple):
    """A question on its way down the chain."""

    question: Question
    zone: Zone
    remote: str = ""
    """The client's address; "" while an answer is computed that all clients share."""


class Upstream(NamedTuple):
    address: str
    port: int = 53
    of_machine: bool = False
    """An address of the machine that a pod has one of its own of (127.0.0.1): asked with the machine's identity."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A chain's wish to ask elsewhere: the server does it (`server.py` does the I/O)."""

    question: Question
    upstreams: tuple[Upstream, ...]
    """In the order in which they are to be tried, before `policy`."""
    policy: str = "random"
    force_tcp: bool = False
    max_concurrent: int = 0
    """0: no limit. Beyond it the answer is REFUSED."""
    after: tuple[Callable[[Answer], Answer], ...] = ()
    """What plugins before `forward` do to the answer, innermost first."""
    failover: frozenset[str] = frozenset()
    """Rcodes after which the next upstream is asked."""
    plugin: str = "forward"

    def order(self, chance: random.Random, turn: int) -> list[Upstream]:
        """Return the upstreams in the order of the policy."""
        match self.policy:
            case "sequential":
                return list(self.upstreams)
            case "round_robin":
                first = turn % max(len(self.upstreams), 1)
                return [*self.upstreams[first:], *self.upstreams[:first]]
            case _:
                return chance.sample(self.upstreams, len(self.upstreams))


Outcome: TypeAlias = Answer | Forward
Handler: TypeAlias = Callable[[Query], Outcome]
Step: TypeAlias = Callable[[Query, Handler], Outcome]
"""A plugin at work: answer, or hand the (perhaps changed) query to the next."""


@dataclass(frozen=True, slots=True)
class LogRule:
    zones: tuple[str, ...]
    format: str
    classes: frozenset[str] = frozenset({"all"})


@dataclass(frozen=True, slots=True)
class CacheRule:
    """How long answers from upstream are kept; cluster answers are always current and need no rule."""

    zones: tuple[str, ...]
    success: int = 3600
    denial: int = 1800
    capacity: int = 9984
    no_success: tuple[str, ...] = ()
    no_denial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What the Corefile may refer to outside itself."""

    upstreams: tuple[Upstream, ...] = ()
    """The nameservers of /etc/resolv.conf."""
    read_file: Callable[[str], str | None] = lambda path: None
    addresses: tuple[str, ...] = ()
    """CoreDNS' own: it never forwards to them."""


@dataclass(slots=True)
class Block:
    """A server block while its plugins set it up."""

    zones: tuple[str, ...]
    port: int
    context: Context
    steps: list[tuple[str, Step]] = field(default_factory=list)
    log: list[LogRule] = field(default_factory=list)
    errors: bool = False
    cache: CacheRule | None = None
    rotate: bool = False
    health: tuple[str, int] | None = None
    lameduck: float = 0.0
    ready: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None
    reload: bool = False
    verified_pods: bool = False
    rewrites: list[Any] = field(default_factory=list)
    """The rewrite plugin's own."""
    warnings: list[str] = field(default_factory=list)
    enabled: list[str] = field(default_factory=list)


Setup: TypeAlias = Callable[[Directive, Block], Step | None]
