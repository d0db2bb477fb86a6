"""What the API server has to know about a kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import GVK, Object

__all__ = ["VERBS", "Column", "Kind", "Subresource"]

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a server-side table (metav1.TableColumnDefinition)."""

    name: str
    type: str = "string"
    priority: int = 0
    """0 is always shown, 1 only with `-o wide`."""
    format: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Subresource:
    """A sub-resource such as `pods/eviction`; group, version and kind are of the body that it takes."""

    name: str
    kind: str
    group: str = ""
    version: str = ""
    verbs: tuple[str, ...] = ("get", "patch", "update")


def _no_default(obj: Object) -> None:
    """Most kinds have no defaults."""


def _no_errors(obj: Object, old: Object | None) -> Sequence[FieldError]:
    return ()


def _no_prepare(obj: Object, old: Object | None) -> None:
    """Most kinds take what they are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A resource type. Functions get plain JSON and are pure but for mutating the copy they are handed."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[Subresource, ...] = ()
    columns: tuple[Column, ...] = (Column("Name", format="name"), Column("Age"))
    row: Callable[[Object, float], list[Any]] | None = None
    """`row(obj, now)` gives one cell per column; None: name and age."""
    default: Callable[[Object], None] = _no_default
    """Fill in what the real server fills in, in place."""
    prepare: Callable[[Object, Object | None], None] = _no_prepare
    """Before create (old is None) and update: reset status on create, keep what writers may not change."""
    validate: Callable[[Object, Object | None], Sequence[FieldError]] = _no_errors
    """Return every semantic error; `old` is the stored object on update, None on create."""
    selectable: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    """Field selectors beyond metadata.name and metadata.namespace."""
    schema: Mapping[str, Any] | None = None
    """The openAPIV3Schema of a custom resource; built-in kinds have theirs in `apimachinery.schema`."""
    emulated: bool = True
    """False: stored without effect; a manifest with one draws a warning."""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Field path pattern (`spec.hostPID`, `[]` for any index, `path=value` for one value) → why it has no effect."""
    advice: Callable[[Object], Iterable[tuple[str, str]]] | None = None
    """More of that, (field path, sentence), by whoever reads the object."""

    @property
    def gvk(self) -> GVK:
        return GVK(self.group, self.version, self.kind)

    @property
    def api_version(self) -> str:
        return self.gvk.api_version

    @property
    def resource(self) -> str:
        """The name components and kubectl use: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural
