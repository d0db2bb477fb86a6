"""How fast an autoscaler may go: the stabilization windows and policies of its `behavior`.

Stands for the normalizing half of horizontal.go. It remembers what was recommended and done; time is an argument.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

import math
from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery.meta import Key, Object

__all__ = ["ScaleBehavior"]

_DOWN_WINDOW = 300.0
"""Seconds of stabilization before scaling down, if the autoscaler doesn't say."""

_UP_POLICIES: tuple[Object, ...] = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN_POLICIES: tuple[Object, ...] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)
_LONGEST_PERIOD = 1800
"""Seconds that a policy's period has at most."""


class ScaleBehavior:
    """What autoscalers recommended and did lately, and what follows for what they may do now.

    `behavior` is an autoscaler's `spec.behavior`, `now` in seconds of any clock.
    """

    def __init__(self) -> None:
        self._proposed: dict[Key, list[tuple[float, int]]] = {}
        """Recent recommendations, for the stabilization windows."""
        self._scaled: dict[Key, list[tuple[float, int]]] = {}
        """Recent changes, for the rate policies."""

    def forget(self, key: Key) -> None:
        """An autoscaler is gone."""
        self._proposed.pop(key, None)
        self._scaled.pop(key, None)

    def scaled(self, key: Key, change: int, now: float) -> None:
        """So many pods more, or less, were asked for."""
        self._scaled.setdefault(key, []).append((now, change))

    def stabilized(self, key: Key, behavior: Mapping[str, Any], wanted: int, current: int, now: float) -> int:
        """Return a recommendation, damped: not below the highest, nor above the lowest one of its window."""
        down = float((behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds", _DOWN_WINDOW))
        up = float((behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds", 0.0))
        recent = [(when, size) for when, size in self._proposed.get(key, ()) if when > now - max(down, up)]
        recent.append((now, wanted))
        self._proposed[key] = recent
        highest = max(size for when, size in recent if when > now - down or when == now)
        lowest = min(size for when, size in recent if when > now - up or when == now)
        if wanted > current:
            return max(min(wanted, max(lowest, current)), current)
        return min(max(wanted, min(highest, current)), current)

    def rated(self, key: Key, behavior: Mapping[str, Any], wanted: int, current: int, now: float) -> int:
        """Return the size that the scaleUp or scaleDown policies admit: so many pods or percent per period."""
        if wanted == current:
            return current
        grows = wanted > current
        if grows and not behavior:  # without `behavior` the older rule holds: at most double, or 4
            return min(wanted, max(2 * current, 4))
        rules: Mapping[str, Any] = behavior.get("scaleUp" if grows else "scaleDown") or {}
        if rules.get("selectPolicy") == "Disabled":
            return current
        policies = rules.get("policies") or (_UP_POLICIES if grows else _DOWN_POLICIES)
        history = self._scaled.get(key, [])
        self._scaled[key] = history = [(when, change) for when, change in history if when > now - _LONGEST_PERIOD]
        limits: list[int] = []
        for policy in policies:
            changed = sum(
                change for when, change in history if when > now - policy["periodSeconds"] and (change > 0) == grows
            )
            start = current - changed
            if policy["type"] == "Pods":
                limits.append(start + policy["value"] if grows else start - policy["value"])
            elif grows:
                limits.append(math.ceil(start * (1 + policy["value"] / 100)))
            else:
                limits.append(math.floor(start * (1 - policy["value"] / 100)))
        most = (rules.get("selectPolicy") or "Max") == "Max"
        if grows:
            return min(wanted, max((max if most else min)(limits), current))
        return max(wanted, min((min if most else max)(limits), current))
