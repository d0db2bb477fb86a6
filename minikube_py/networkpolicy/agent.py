"""`PolicyGate`: follows the API and answers the network, connection by connection.

Stands for a CNI's policy agent (calico-felix, cilium-agent), one for all nodes. It differs from them in one thing,
on purpose: it has no delay.

1. It subscribes to commits, so a policy is in force before the write that creates it returns.
2. The kubelet announces a pod's address before the pod's first byte (`announce`), so the pod's rules are in force
   before its status says so, and stay until the kubelet takes the address back (`forget`).
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API, Change, Event, Subscription
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow, Verdict
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import decide
from minikube_py.networkpolicy.identity import pod_ip
from minikube_py.networkpolicy.policy import read_admin_policy, read_policy
from minikube_py.networkpolicy.verdict import Decision

if TYPE_CHECKING:
    from minikube_py.cni.cbpf import Ranges
    from minikube_py.networkpolicy.explain import Walk
    from minikube_py.networkpolicy.ranges import DeniedSources
    from minikube_py.networkpolicy.why import Finding

__all__ = ["POLICIES", "WATCHES", "Denial", "PolicyGate"]

logger = logging.getLogger(__name__)

_ADMIN = "adminnetworkpolicies.policy.networking.k8s.io"
_BASELINE = "baselineadminnetworkpolicies.policy.networking.k8s.io"

POLICIES = ("networkpolicies.networking.k8s.io", _ADMIN, _BASELINE)

WATCHES = ("namespaces", "nodes", *POLICIES, "pods")
"""In this order: what a pod's rules are made of is known before the pod is."""

_DENIALS_KEPT = 1024
_LOG_EVERY = 1.0
"""Seconds between two log lines about the same flow: a client that retries in a loop must not fill the log."""


class Denial(Struct, frozen=True):
    """One denied connection attempt."""

    time: float
    """Seconds since the epoch."""
    flow: Flow
    source: str
    """`namespace/pod`, or the address of what is no pod."""
    destination: str
    decision: Decision


class PolicyGate:
    """The Gate of one cluster (`cni.types.Gate`).

    With `enforce=False` (a CNI that accepts policies and ignores them) every flow is allowed, and the verdict says
    what an enforcing CNI would have done.

    Resource handling: `start()` subscribes, `stop()` unsubscribes and forgets the callbacks. No tasks, no sockets.
    Error handling: a policy that can't be read (the API server refuses such ones) is logged and ignored.
    """

    def __init__(self, api: API, addresses: Addresses, clock: Clock, *, enforce: bool = True) -> None:
        self._api = api
        self._clock = clock
        self.enforce = enforce
        self._set = PolicySet.empty(addresses)
        self._subscription: Subscription | None = None
        self._announced: dict[str, str] = {}
        """Address → uid of the pod whose kubelet said so."""
        self._address_of: dict[str, str] = {}
        """Pod uid → its address."""
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._due: asyncio.Handle | None = None
        self.denied: Counter[str] = Counter()
        """Flows denied, by policy (`namespace/name`); a denial counts on each policy that isolates the pod."""
        self.allowed: Counter[str] = Counter()
        """Flows that a policy's rule admitted, by policy."""
        self._denials: deque[Denial] = deque(maxlen=_DENIALS_KEPT)
        self._logged: dict[Flow, tuple[float, int]] = {}
        self._sources: tuple[PolicySet, DeniedSources] | None = None
        """The denied sources under the snapshot that they were made for."""

    def start(self) -> None:
        self._subscription = self._api.subscribe(WATCHES, self._changed)

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._callbacks.clear()

    @property
    def policy_set(self) -> PolicySet:
        """The snapshot in force."""
        return self._set

    # The Gate

    def check(self, flow: Flow) -> Verdict:
        """Judge a connection attempt; count it on the policies that admit it."""
        decision = decide(self._set, flow)
        if not decision.allowed and not self.enforce:
            return Verdict(
                True,
                f"this cluster's CNI does not enforce policies; one that does would deny: {decision.because}",
                decision.policies,
            )
        for policy in decision.admitted_by:
            self.allowed[policy] += 1
        return decision

    def unenforced(self) -> list[str]:
        """Return the policies that nobody enforces, as `namespace/name`; empty under a CNI that does."""
        if self.enforce:
            return []
        own = [str(policy) for there in self._set.policies.values() for policy in there.values()]
        return [*own, *map(str, self._set.admin)]

    def judge(self, flow: Flow) -> Decision:
        """Judge without counting: for questions that are no connection attempts."""
        return decide(self._set, flow)

    def record(self, flow: Flow, verdict: Verdict) -> None:
        """Log a denied attempt, naming the policies, and count it on them."""
        decision = verdict if isinstance(verdict, Decision) else decide(self._set, flow)
        self._deny(flow, decision)

    def denied_sources(self, ip: str, port: int, protocol: str, seen_as: str = "") -> "Ranges":
        """Return the addresses that `check` denies `ip`:`port`."""
        if not self.enforce or self._set.open:
            return ()
        if self._sources is None or self._sources[0] is not self._set:
            from minikube_py.networkpolicy.ranges import DeniedSources

            self._sources = self._set, DeniedSources(self._set)
        return self._sources[1].of(ip, port, protocol, seen_as)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once per turn of the loop in which verdicts may have changed; return its cancel."""
        token = object()
        self._callbacks[token] = callback
        return lambda: void(self._callbacks.pop(token, None))

    # The kubelet

    def announce(self, ip: str, pod: Object) -> None:
        """Put a pod's rules in force at `ip`, before its status says so; it holds until `forget(ip)`."""
        uid = _uid(pod)
        self._announced[ip] = uid
        self._address_of[uid] = ip
        self._swap(self._set.with_pod(pod, ip))

    def forget(self, ip: str) -> None:
        """The address is no pod's any more."""
        if (uid := self._announced.pop(ip, None)) is not None and self._address_of.get(uid) == ip:
            del self._address_of[uid]
        self._swap(self._set.without_pod(ip))

    # Asking afterwards

    def explain(self, flow: Flow) -> "Walk":
        """Walk through everything that decides about a flow."""
        from minikube_py.networkpolicy.explain import explain  # 7 ms of start time that only questions need

        return explain(self._set, flow, self._api.list("services"))

    def lint(self) -> "list[Finding]":
        """Look for what is probably not meant, in the policies as they are now."""
        from minikube_py.networkpolicy.why import lint_set  # as above

        return lint_set(self._set, self._api.list("services"))

    def denials(
        self, *, policy: str | None = None, pod: str | None = None, since: float = 0.0, last: int | None = None
    ) -> list[Denial]:
        """Return the denials that are still remembered (1,024), oldest first.

        `policy` and `pod` (at either end) are `namespace/name`; `since` is in seconds since the epoch.
        """
        found = [
            denial
            for denial in self._denials
            if denial.time >= since
            and (policy is None or policy in denial.decision.denied_by)
            and (pod is None or pod in (denial.source, denial.destination))
        ]
        return found if last is None else found[max(len(found) - last, 0) :]

    def _deny(self, flow: Flow, decision: Decision) -> None:
        self.denied.update(decision.denied_by)
        now = self._clock.now()
        denial = Denial(now, flow, self._who(flow.source), self._who(flow.destination), decision)
        self._denials.append(denial)
        last, suppressed = self._logged.get(flow, (float("-inf"), 0))
        if now - last < _LOG_EVERY:
            self._logged[flow] = (last, suppressed + 1)
            return
        if len(self._logged) > 4096:
            self._logged.clear()
        self._logged[flow] = (now, 0)
        logger.warning(
            "policy denied direction=%s source=%s destination=%s port=%s/%s policies=%s because=%r suppressed=%d",
            decision.direction.value if decision.direction else "",
            denial.source,
            denial.destination,
            flow.port,
            flow.protocol,
            ",".join(decision.denied_by),
            decision.because,
            suppressed,
        )

    def _who(self, address: str) -> str:
        endpoint = self._set.pods.get(address)
        return address if endpoint is None else str(endpoint)

    # The API

    def _changed(self, event: Event) -> None:
        obj, gone = event.object, event.change is Change.DELETED
        match event.resource:
            case "pods":
                self._pod(obj, gone=gone)
            case "namespaces":
                self._swap(self._set.without_namespace(meta.name(obj)) if gone else self._set.with_namespace(obj))
            case "nodes":
                self._swap(self._set.without_node(meta.name(obj)) if gone else self._set.with_node(obj))
            case _:
                self._policy(event.resource, obj, gone=gone)

    def _policy(self, resource: str, obj: Object, *, gone: bool) -> None:
        if resource in (_ADMIN, _BASELINE):
            remaining = self._set.without_admin_policy(meta.name(obj), baseline=resource == _BASELINE)
        else:
            remaining = self._set.without_policy(meta.namespace(obj), meta.name(obj))
        if gone:
            self._swap(remaining)
            return
        try:
            if resource in (_ADMIN, _BASELINE):
                new = self._set.with_admin_policy(read_admin_policy(obj))
            else:
                new = self._set.with_policy(read_policy(obj))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("policy ignored, it can't be read object=%s error=%r", meta.describe(obj), error)
            new = remaining
        self._swap(new)

    def _pod(self, pod: Object, *, gone: bool) -> None:
        uid = _uid(pod)
        have = self._address_of.get(uid, "")
        announced = bool(have) and self._announced.get(have) == uid
        if gone:
            if not announced and have:
                del self._address_of[uid]
                self._withdraw(have, uid)
            return  # an announced address keeps its rules until its kubelet has closed the last socket
        ip = have if announced else pod_ip(pod)
        changed = self._set
        if have and have != ip:
            del self._address_of[uid]
            changed = changed if self._owner(have) != uid else changed.without_pod(have)
        if ip and self._announced.get(ip, uid) == uid:
            self._address_of[uid] = ip
            changed = changed.with_pod(pod, ip)
        self._swap(changed)

    def _owner(self, ip: str) -> str:
        endpoint = self._set.pods.get(ip)
        return "" if endpoint is None else endpoint.uid

    def _withdraw(self, ip: str, uid: str) -> None:
        if self._owner(ip) == uid:
            self._swap(self._set.without_pod(ip))

    def _swap(self, new: PolicySet) -> None:
        if new is self._set:
            return
        matters = not (self._set.open and new.open)
        self._set = new
        if matters and self._callbacks and self._due is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # no loop, nothing to coalesce with
                self._tell()
            else:
                self._due = loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._due = None
        for callback in tuple(self._callbacks.values()):
            try:
                callback()
            except Exception:
                logger.exception("on_change callback failed")


def _uid(pod: Object) -> str:
    return meta.uid(pod) or str(meta.key(pod))


def void(_: object) -> None:
    """Make a cancel function return nothing."""
