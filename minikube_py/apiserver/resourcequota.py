"""The ResourceQuota admission plugin: refuse what would exceed a namespace's quota, charge it for what passes.

The controller `controllers/resourcequota.py` gives back what is deleted; the arithmetic is in `kinds/quota.py`.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from collections.abc import Mapping
from fractions import Fraction

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.kinds import quota
from minikube_py.kinds.kind import Kind

__all__ = ["charged"]

_MAY_GROW = ("services", "persistentvolumeclaims")
"""Kinds of which an update may use more."""


def charged(kind: Kind, obj: Object, old: Object | None, view: View) -> list[Object]:
    """Return the namespace's quotas with `obj` counted in their status, as far as it changes anything.

    Error handling: 403 Forbidden that names the quota, what was asked, used and allowed.
    """
    quotas = view.list("resourcequotas", meta.namespace(obj)) if kind.namespaced else ()
    if not quotas or (old is not None and kind.resource not in _MAY_GROW):
        return []
    before = quota.usage(kind.resource, old) if old is not None else {}
    more = {
        name: amount - before.get(name, 0)
        for name, amount in quota.usage(kind.resource, obj).items()
        if amount > before.get(name, 0)
    }
    result = []
    for limit in quotas:
        hard: Mapping[str, str] = meta.status(limit).get("hard") or {}
        if not quota.applies(limit, kind.resource, obj):
            continue
        if kind.resource == "pods" and old is None and (lacking := quota.missing(hard, obj)):
            why = f"failed quota: {meta.name(limit)}: must specify {lacking}"
            raise errors.forbidden(kind.plural, meta.name(obj), why, kind.group)
        asked = {name: amount for name, amount in more.items() if name in hard}
        if not asked:
            continue
        used = {name: quantities.quantity(value) for name, value in (meta.status(limit).get("used") or {}).items()}
        after = {name: used.get(name, Fraction(0)) + amount for name, amount in asked.items()}
        if over := sorted(name for name, amount in after.items() if amount > quantities.quantity(hard[name])):
            said = {
                "requested": {name: quota.text(name, asked[name]) for name in over},
                "used": {name: quota.text(name, used.get(name, Fraction(0))) for name in over},
                "limited": {name: hard[name] for name in over},
            }
            parts = (f"{word}: {','.join(f'{n}={v}' for n, v in values.items())}" for word, values in said.items())
            why = f"exceeded quota: {meta.name(limit)}, {', '.join(parts)}"
            raise errors.forbidden(kind.plural, meta.name(obj), why, kind.group)
        counted = {**(meta.status(limit).get("used") or {}), **{n: quota.text(n, a) for n, a in after.items()}}
        result.append({**limit, "status": {**meta.status(limit), "used": counted}})
    return result
