"""Discovery: which groups, versions and resources there are, in the old form and the aggregated one.

kubectl asks for the aggregated form and decides by the answer's content type; Python clients know only the old one.
Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from collections.abc import Iterable
from typing import Any

from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind, Subresource

__all__ = ["aggregated", "group", "groups", "preferred", "resources", "versions"]

_PREFERENCE = ("v2", "v1", "v1beta1", "v1alpha1")


def _rank(version: str) -> tuple[int, str]:
    return (_PREFERENCE.index(version) if version in _PREFERENCE else len(_PREFERENCE), version)


def _by_group(kinds: Iterable[Kind]) -> dict[str, dict[str, list[Kind]]]:
    found: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds:
        found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    return {
        name: dict(sorted(found[name].items(), key=lambda item: _rank(item[0])))
        for name in sorted(found, key=lambda name: (name != "apps", name))
    }


def preferred(kinds: Iterable[Kind], name: str) -> str:
    return next(iter(_by_group(kinds)[name]))


def _singular(kind: Kind) -> str:
    return kind.singular or kind.kind.lower()


def aggregated(kinds: Iterable[Kind], *, core: bool, version: str) -> Object:
    """Return the APIGroupDiscoveryList of /api (`core`) or /apis; `version` is v2 or v2beta1."""
    items = []
    for name, by_version in _by_group(kinds).items():
        if (name == "") is not core:
            continue
        items.append(
            {
                "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
                "versions": [
                    {
                        "version": number,
                        "freshness": "Current",
                        "resources": [_discovered(kind) for kind in found],
                    }
                    for number, found in by_version.items()
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _discovered(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": _singular(kind),
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": _group(kind, sub),
                    "version": sub.version or kind.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return entry


def _group(kind: Kind, sub: Subresource) -> str:
    return sub.group if sub.version else kind.group


def versions(address: str) -> Object:
    """Return /api in the old form; `address` is host:port of the server."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group(kinds: Iterable[Kind], name: str) -> Object | None:
    """Return /apis/NAME; None if there is no such group."""
    by_version = _by_group(kinds).get(name)
    if not name or by_version is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group_entry(name, list(by_version))}


def groups(kinds: Iterable[Kind]) -> Object:
    """Return /apis in the old form."""
    entries = [_group_entry(name, list(found)) for name, found in _by_group(kinds).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": entries}


def _group_entry(name: str, found: list[str]) -> Object:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in found]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def resources(kinds: Iterable[Kind], group_name: str, version: str) -> Object | None:
    """Return /api/v1 or /apis/GROUP/VERSION; None if nothing is served there."""
    found = [kind for kind in kinds if kind.group == group_name and kind.version == version]
    if not found:
        return None
    entries: list[Any] = []
    for kind in found:
        entry: Object = {
            "name": kind.plural,
            "singularName": _singular(kind),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        entries.append(entry)
        for sub in kind.subresources:
            below: Object = {
                "name": f"{kind.plural}/{sub.name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub.kind,
                "verbs": list(sub.verbs),
            }
            if sub.version and (sub.group, sub.version) != (kind.group, kind.version):
                below["group"], below["version"] = sub.group, sub.version
            entries.append(below)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group_name}/{version}" if group_name else version,
        "resources": entries,
    }
