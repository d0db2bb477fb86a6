"""When the controller compiles its table anew."""

import asyncio

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apiserver.operations import Operations
from minikube_py.ingress.router import Match
from minikube_py.ingress.server import Tables

from .support import ingress, ingress_class, path, service


async def test_only_what_rules_are_made_of_compiles_them_anew() -> None:
    """A status write changes nothing; an annotation, a rule or a deletion does, and the next look shows it."""
    api = Operations(VirtualClock())
    for each in (ingress_class(), service("web"), ingress("i", {"a.test": [path("web")]})):
        api.create(each)
    tables = Tables(api)
    tables.start()
    tables.table()
    swaps = tables.swaps
    made = meta.copy(api.get("ingresses.networking.k8s.io", "i", "default") or {})
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "127.200.0.1"}]}}
    made = meta.copy(api.update(made, subresource="status"))
    tables.table()
    assert tables.swaps == swaps
    made["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"] = "7"
    made = meta.copy(api.update(made))
    found = tables.table().route("a.test", "/")
    assert isinstance(found, Match)
    assert found.location.options.read_timeout == 7
    made["spec"]["rules"][0]["host"] = "b.test"
    api.update(made)
    assert isinstance(tables.table().route("b.test", "/"), Match)
    assert not isinstance(tables.table().route("a.test", "/"), Match)
    api.delete("ingresses.networking.k8s.io", "i", "default")
    assert not isinstance(tables.table().route("b.test", "/"), Match)
    assert tables.swaps == swaps + 3
    tables.stop()


async def test_a_stopped_table_compiles_no_more() -> None:
    """What was still to come when it stopped does not come."""
    api = Operations(VirtualClock())
    tables = Tables(api)
    tables.start()
    api.create(ingress_class())
    tables.stop()
    swaps = tables.swaps
    for _ in range(5):
        await asyncio.sleep(0)
    assert tables.swaps == swaps
