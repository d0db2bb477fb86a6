"""Which owners' selectors match these labels? Without asking every owner.

A pod's event has to find its Services among thousands. The index keeps each selector under one of its `key=value`
terms; a pod's labels then point at the few selectors that can match.
"""

from collections.abc import Iterator, Mapping

from minikube_py.apimachinery.labels import Operator, Selector
from minikube_py.apimachinery.meta import Key

__all__ = ["SelectorIndex"]

_Bucket = tuple[str, str, str]


class SelectorIndex:
    """Selectors of owners, found by the labels of members."""

    def __init__(self) -> None:
        self._selectors: dict[Key, tuple[_Bucket | None, Selector]] = {}
        self._buckets: dict[_Bucket, dict[Key, None]] = {}
        self._others: dict[str, dict[Key, None]] = {}
        """By namespace: selectors without any `key=value` term, which have to be asked always."""

    def set(self, owner: Key, selector: Selector | None) -> None:
        """Know `owner` by this selector; None or "nothing": by none."""
        self.discard(owner)
        if selector is None or selector.nothing:
            return
        bucket: _Bucket | None = None
        for term in selector.requirements:
            if term.operator is Operator.IN and len(term.values) == 1:
                bucket = (owner.namespace, term.key, next(iter(term.values)))
                break
        self._selectors[owner] = (bucket, selector)
        if bucket is None:
            self._others.setdefault(owner.namespace, {})[owner] = None
        else:
            self._buckets.setdefault(bucket, {})[owner] = None

    def discard(self, owner: Key) -> None:
        known = self._selectors.pop(owner, None)
        if known is None:
            return
        bucket, _ = known
        if bucket is None:
            self._others[owner.namespace].pop(owner, None)
        elif owners := self._buckets.get(bucket):
            owners.pop(owner, None)
            if not owners:
                del self._buckets[bucket]

    def matching(self, namespace: str, labels: Mapping[str, str]) -> Iterator[Key]:
        """Yield the owners in the namespace whose selectors match."""
        for key, value in labels.items():
            for owner in self._buckets.get((namespace, key, value), ()):
                if self._selectors[owner][1].matches(labels):
                    yield owner
        for owner in self._others.get(namespace, ()):
            if self._selectors[owner][1].matches(labels):
                yield owner
