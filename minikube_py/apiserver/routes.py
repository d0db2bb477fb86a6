"""What a URL path asks for. Pure: text in, a `Target` out.

    /api/v1/namespaces/shop/pods/web/log      group "", version v1, namespace shop, pods, web, ("log",)
    /apis/apps/v1/deployments                 group apps, version v1, all namespaces, deployments

Segments are decoded one by one, so a name may hold what a path may not (`system:node`, `%2F`).
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from dataclasses import dataclass
from urllib.parse import unquote

__all__ = ["Target", "segments", "target"]


@dataclass(frozen=True, slots=True)
class Target:
    """One resource, or one object of it, or a part of that."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    """None: all namespaces, or a cluster-scoped resource."""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    """What follows the sub-resource: the path behind `proxy`."""
    watch: bool = False
    """The old form /api/v1/watch/…"""

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def segments(raw_path: str) -> list[str]:
    """Split a raw path; trailing and doubled slashes don't count (several clients send them)."""
    return [unquote(part) for part in raw_path.split("/") if part]


def target(parts: list[str]) -> Target | None:
    """Read the segments of a resource path; None for every other path."""
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = rest[0] == "watch"
    if watch:
        rest = rest[1:]
        if not rest:
            return None
    namespace: str | None = None
    if (
        rest[0] == "namespaces"
        and len(rest) >= 3
        and not (group == "" and len(rest) == 3 and rest[2] in ("status", "finalize"))
    ):
        namespace, rest = rest[1], rest[2:]
    plural, *tail = rest
    name, subresource = (tail[0] if tail else ""), (tail[1] if len(tail) > 1 else "")
    return Target(group, version, plural, namespace, name, subresource, tuple(tail[2:]), watch)
