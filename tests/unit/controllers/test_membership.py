"""The index finds exactly the owners whose selectors match."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery.labels import Operator, Requirement, Selector
from minikube_py.apimachinery.meta import Key
from minikube_py.controllers.membership import SelectorIndex

KEYS = st.sampled_from(["app", "tier"])
VALUES = st.sampled_from(["a", "b"])
LABELS = st.dictionaries(KEYS, VALUES)
TERMS = st.builds(
    Requirement,
    KEYS,
    st.sampled_from([Operator.IN, Operator.NOT_IN, Operator.EXISTS]),
    st.frozensets(VALUES, min_size=1),
)
SELECTORS = st.builds(Selector, st.lists(TERMS, max_size=2).map(tuple))


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.none() | SELECTORS)), LABELS)
def test_equals_asking_everybody(steps: list[tuple[str, Selector | None]], labels: dict[str, str]) -> None:
    """After any changes the index answers as if every selector were asked."""
    index = SelectorIndex()
    truth: dict[Key, Selector] = {}
    for name, selector in steps:
        key = Key("default", name)
        index.set(key, selector)
        truth.pop(key, None)
        if selector is not None:
            truth[key] = selector
    assert sorted(index.matching("default", labels)) == sorted(k for k, s in truth.items() if s.matches(labels))
    assert [*index.matching("elsewhere", labels)] == []
