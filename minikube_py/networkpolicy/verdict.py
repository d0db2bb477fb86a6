"""The answer of `decide`: a `cni.types.Verdict` that also keeps what each side of the connection said."""

from dataclasses import dataclass

from msgspec import Struct

from minikube_py.cni.types import Verdict
from minikube_py.networkpolicy.policy import Direction

__all__ = ["Decision", "Opinion"]


class Opinion(Struct, frozen=True):
    """What one direction says of a flow."""

    direction: Direction
    allowed: bool
    because: str
    selected_by: tuple[str, ...] = ()
    """Policies that select the pod: `namespace/name`, admin policies as `AdminNetworkPolicy/name`."""
    admitted_by: tuple[str, ...] = ()
    """The policy whose rule admits the flow; none for the default."""
    rule: int | None = None
    """Index of the deciding rule in its policy."""
    denied_by: tuple[str, ...] = ()
    """Policies to which the denial is due: an admin policy's rule, or all that isolate the pod."""


@dataclass(frozen=True, slots=True)
class Decision(Verdict):
    """A verdict with both opinions. Egress is asked first, because a packet leaves before it arrives."""

    direction: Direction | None = None
    """The direction that denied; None when allowed."""
    egress: Opinion | None = None
    """None: the source is no pod, or nothing could forbid it."""
    ingress: Opinion | None = None
    admitted_by: tuple[str, ...] = ()
    """The policies whose rules admitted the flow, of both sides; filled in when allowed."""

    @property
    def denied_by(self) -> tuple[str, ...]:
        """The policies to which the denial is due."""
        opinion = self.egress if self.direction is Direction.EGRESS else self.ingress
        return () if self.direction is None or opinion is None else opinion.denied_by
