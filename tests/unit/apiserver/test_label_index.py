"""Listing by selector answers the same with the label index as without; `*` hears everything."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key
from minikube_py.apiserver.store import Store
from minikube_py.client.api import Event

LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]))
STEPS = st.lists(st.tuples(st.sampled_from("pqr"), st.none() | LABELS))
SELECTORS = st.sampled_from(["app=a", "app=a,tier=b", "app in (a,b)", "app!=a", "tier", "!tier", "app=a,tier!=a"])


@given(STEPS, SELECTORS)
def test_index_equals_scan(steps: list[tuple[str, dict[str, str] | None]], text: str) -> None:
    """After any writes a selector finds exactly the objects whose labels match."""
    store = Store()
    for name, labels in steps:
        if labels is not None:
            store.put("pods", {"metadata": {"name": name, "namespace": "ns", "labels": labels}})
        elif store.get("pods", Key("ns", name)):
            store.remove("pods", Key("ns", name))
    selector = Selector.parse(text)
    found = {meta.name(pod) for pod in store.list("pods", "ns", selector)}
    assert found == {meta.name(pod) for pod in store.list("pods", "ns") if selector.matches(meta.labels(pod))}


def test_star_hears_every_resource() -> None:
    """A subscription to `*` replays all there is and hears of resources that come later."""
    store = Store()
    store.put("pods", {"metadata": {"name": "a", "namespace": "ns"}})
    heard: list[Event] = []
    subscription = store.subscribe(["*"], heard.append)
    store.put("widgets.example.org", {"metadata": {"name": "w"}})
    subscription.cancel()
    store.put("pods", {"metadata": {"name": "b", "namespace": "ns"}})
    assert [(event.resource, event.key.name) for event in heard] == [("pods", "a"), ("widgets.example.org", "w")]
