"""What keeps Gateways from listening and routes from attaching: by their statuses, and by what nobody serves. Pure."""

from collections.abc import Iterator, Mapping

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import View

__all__ = ["gateway_problems"]

_GROUP = "gateway.networking.k8s.io"
_ROUTES = ("httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes")
_COMING = ("Pending", "AddressNotAssigned")
"""Reasons of what will be right in a moment."""


def gateway_problems(view: View) -> Iterator[tuple[str, Object, str]]:
    """Yield (code, object, text)."""
    gateways = {meta.key(each): each for each in view.list(f"gateways.{_GROUP}")}
    classes = [meta.name(each) for each in view.list(f"gatewayclasses.{_GROUP}")] if gateways else []
    for gateway in gateways.values():
        class_ = str(meta.spec(gateway).get("gatewayClassName"))
        if class_ not in classes:
            nearest = names.nearest(class_, classes)
            known = f"did you mean {nearest}?" if nearest else f"known: {', '.join(sorted(classes)) or 'none'}"
            yield "MK403", gateway, f'gatewayClassName "{class_}" does not exist, so nobody serves it; {known}'
        for what in _wrong(meta.status(gateway)):
            yield "MK403", gateway, what
        for listener in meta.status(gateway).get("listeners") or ():
            for what in _wrong(listener):
                yield "MK403", gateway, f"listener {listener['name']}: {what}"
    for resource in _ROUTES:
        for route in view.list(f"{resource}.{_GROUP}"):
            for parent in meta.status(route).get("parents") or ():
                for what in _wrong(parent):
                    yield "MK404", route, f"at Gateway {parent['parentRef']['name']}: {what}"
            for ref in meta.spec(route).get("parentRefs") or ():
                key = Key(ref.get("namespace") or meta.namespace(route), ref["name"])
                if (ref.get("kind") or "Gateway") == "Gateway" and key not in gateways:
                    nearest = names.nearest(key.name, [each.name for each in gateways])
                    hint = f"; did you mean {nearest}?" if nearest else ""
                    yield "MK404", route, f"its Gateway {key} does not exist{hint}"


def _wrong(status: Mapping[str, object]) -> Iterator[str]:
    conditions = status.get("conditions")
    for each in conditions if isinstance(conditions, list) else ():
        bad = "True" if each["type"] in ("PartiallyInvalid", "Conflicted") else "False"
        if each["status"] == bad and each["reason"] not in _COMING and each["type"] != "Programmed":
            yield f"{each['reason']}: {each['message']}"
