"""The arithmetic of a rolling update, over plain numbers.

Source: k8s.io/kubernetes/pkg/controller/deployment/{rolling,sync}.go and util/deployment_util.go.
**The law:** never more than replicas + maxSurge pods, never fewer than replicas − maxUnavailable available ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from minikube_py.controllers.intstr import scaled

__all__ = ["Counts", "fenceposts", "first_replicas", "new_replicas", "proportional", "shrink_old"]


class Counts(Struct, frozen=True):
    """What one ReplicaSet has."""

    name: str
    spec: int
    available: int
    pods: int = 0
    """What it has now: a set that was told to shrink holds its place until it has."""
    annotated_max: int = 0
    """replicas + maxSurge when it was last scaled; 0: not known."""


def fenceposts(rolling: Mapping[str, Any], replicas: int) -> tuple[int, int]:
    """Return (maxSurge, maxUnavailable): surge is rounded up, unavailable down; both 0 would never move."""
    surge = scaled(rolling.get("maxSurge"), replicas, up=True, default="25%")
    unavailable = scaled(rolling.get("maxUnavailable"), replicas, up=False, default="25%")
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def first_replicas(sets: Sequence[Counts], replicas: int, surge: int) -> int:
    """Return the size at which a new ReplicaSet starts beside `sets`."""
    room = replicas + surge - sum(max(rs.spec, rs.pods) for rs in sets)
    return max(min(room, replicas), 0)


def new_replicas(new: Counts, sets: Sequence[Counts], replicas: int, surge: int) -> int:
    """Return the size of the new ReplicaSet now; `sets` are all, it included."""
    if new.spec >= replicas:
        return replicas
    room = replicas + surge - sum(max(rs.spec, rs.pods) for rs in sets)
    return new.spec + max(min(room, replicas - new.spec), 0)


def shrink_old(new: Counts, old: Sequence[Counts], replicas: int, unavailable: int) -> list[tuple[str, int]]:
    """Return (name, size) of the old ReplicaSets to shrink: first by what is broken anyway, then by what may go."""
    minimum = replicas - unavailable
    budget = new.spec + sum(rs.spec for rs in old) - minimum - (new.spec - new.available)
    if budget <= 0 or not any(rs.spec for rs in old):
        return []
    sizes = {rs.name: rs.spec for rs in old}
    for rs in old:
        broken = min(rs.spec - rs.available, budget)
        if broken > 0:
            sizes[rs.name] -= broken
            budget -= broken
    spare = new.available + sum(rs.available for rs in old) - minimum
    for rs in old:
        step = min(sizes[rs.name], max(spare, 0))
        sizes[rs.name] -= step
        spare -= step
    return [(rs.name, sizes[rs.name]) for rs in old if sizes[rs.name] != rs.spec]


def proportional(
    new: Counts | None, old: Sequence[Counts], replicas: int, surge: int, *, rolling: bool
) -> dict[str, int]:
    """Return the sizes of the ReplicaSets after `kubectl scale` in the middle of a rollout.

    One active set gets all; a complete new one empties the others; otherwise each gets its share, the biggest first.
    """
    sets = [*([new] if new else []), *old]
    alive = [rs for rs in sets if rs.spec > 0]
    if len(alive) <= 1:
        target = alive[0] if alive else new or (old[-1] if old else None)
        return {target.name: replicas} if target else {}
    if new and new.spec == replicas == new.available:
        return {new.name: replicas, **{rs.name: 0 for rs in old if rs.spec}}
    if not rolling:
        return {}
    total = sum(rs.spec for rs in alive)
    allowed = replicas + surge if replicas > 0 else 0
    to_add = allowed - total
    # new ones first when growing, old ones first when shrinking, the biggest of each first
    order = sorted(alive, key=lambda rs: (-rs.spec, rs is not new if to_add > 0 else rs is new))
    sizes: dict[str, int] = {}
    added = 0
    for rs in order:
        before = rs.annotated_max or replicas
        share = round_half_up(rs.spec * allowed, before) - rs.spec if allowed else -rs.spec
        left = to_add - added
        share = max(min(share, left), 0) if to_add > 0 else min(max(share, left), 0)
        sizes[rs.name] = rs.spec + share
        added += share
    first = order[0].name
    sizes[first] = max(sizes[first] + to_add - added, 0)
    return sizes


def round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
