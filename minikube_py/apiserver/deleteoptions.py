"""DeleteOptions: from the body of a DELETE, or from its query.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/
"""

from typing import Any

from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import FieldError, StatusError
from minikube_py.apiserver import bodies
from minikube_py.apiserver.exchange import Exchange

__all__ = ["delete_options"]

_PROPAGATION = ("Foreground", "Background", "Orphan")


async def delete_options(exchange: Exchange) -> dict[str, Any]:
    """Return the arguments of `Operations.delete` that a request asks for.

    Error handling: 400 and 422 for options that make no sense.
    """
    body = await exchange.body()
    options: Any = bodies.decode(body, exchange.content_type, "DeleteOptions") if body.strip() else {}
    if not isinstance(options, dict):
        raise errors.bad_request("the body of a DELETE is a DeleteOptions object")
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        grace = exchange.number("gracePeriodSeconds")
    if grace is not None and (type(grace) is not int or grace < 0):
        raise _invalid(errors.invalid_value("gracePeriodSeconds", grace, "must be greater than or equal to 0"))
    propagation = options.get("propagationPolicy") or exchange.query.get("propagationPolicy")
    orphan = options.get("orphanDependents", exchange.flag("orphanDependents") or None)
    if propagation and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        raise _invalid(errors.invalid_value("propagationPolicy", propagation, why))
    if propagation is not None and propagation not in _PROPAGATION:
        raise _invalid(errors.not_supported("propagationPolicy", propagation, _PROPAGATION))
    dry_run = options.get("dryRun") or ([exchange.query["dryRun"]] if exchange.dry_run else [])
    if dry_run not in ([], ["All"]):
        raise _invalid(errors.not_supported("dryRun", dry_run, ("All",)))
    preconditions = options.get("preconditions") or {}
    return {
        "grace_period": grace,
        "propagation": propagation or ("Orphan" if orphan else "Background"),
        "uid": preconditions.get("uid"),
        "resource_version": preconditions.get("resourceVersion"),
        "dry_run": bool(dry_run),
    }


def _invalid(error: FieldError) -> StatusError:
    return errors.invalid("DeleteOptions", "", [error], "meta.k8s.io")
