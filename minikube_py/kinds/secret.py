"""Secret."""

import base64
import binascii
import json
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import configmap, rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND", "decoded"]

_REQUIRED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}


def decoded(secret: Object, key: str) -> bytes | None:
    """Return one value of a Secret, decoded; None if it has no such key."""
    value = (secret.get("data") or {}).get(key)
    return None if value is None else base64.b64decode(value)


def prepare(secret: Object, old: Object | None) -> None:
    """Write `stringData` into `data`: it is never stored."""
    if plain := secret.pop("stringData", None):
        data = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **data}


def default(secret: Object) -> None:
    prepare(secret, None)
    if not secret.get("type"):
        secret["type"] = "Opaque"


@rules.collected
def validate(secret: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(secret, old)
    data = secret.get("data") or {}
    for key in data:
        for why in names.config_key_errors(key):
            yield errors.invalid_value(f"data[{key}]", key, why)
    if sum(len(value) for value in data.values()) * 3 // 4 > configmap.LIMIT:
        yield errors.too_long("data", configmap.LIMIT)
    type_ = secret.get("type") or "Opaque"
    for key in _REQUIRED.get(type_, ()):
        if key not in data:
            yield errors.required(f"data[{key}]")
        elif type_.startswith("kubernetes.io/docker") and not _is_json(data[key]):
            yield errors.invalid_value(f"data[{key}]", "<secret contents redacted>", "invalid character in JSON")
    if type_ == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        yield errors.required("data[username]")
        yield errors.required("data[password]")
    annotations = meta.annotations(secret)
    if type_ == "kubernetes.io/service-account-token" and not annotations.get("kubernetes.io/service-account.name"):
        yield errors.required("metadata.annotations[kubernetes.io/service-account.name]")
    if old is not None:
        yield from rules.immutable(type_, old.get("type") or "Opaque", "type")
        yield from configmap.immutable_data(secret, old, ("data",))


def _is_json(value: str) -> bool:
    try:
        json.loads(base64.b64decode(value))
    except (binascii.Error, ValueError):
        return False
    return True


def row(secret: Object, now: float) -> list[Any]:
    return [meta.name(secret), secret.get("type", ""), len(secret.get("data") or ()), age(secret, now)]


KIND = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    columns=(NAME, Column("Type"), Column("Data", "integer"), AGE),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={"type": lambda secret: str(secret.get("type") or "")},
)
