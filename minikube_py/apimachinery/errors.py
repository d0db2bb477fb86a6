"""Failures of the API, in Kubernetes' own words and codes (metav1.Status).

kubectl prints these messages as they are (`Error from server (NotFound): pods "x" not found`), so the wording
is part of the contract. Source: k8s.io/apimachinery/pkg/api/errors and .../util/validation/field.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "FieldError",
    "GoText",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "duplicate",
    "forbidden",
    "forbidden_field",
    "gone",
    "internal",
    "invalid",
    "invalid_value",
    "method_not_allowed",
    "not_found",
    "not_found_field",
    "not_supported",
    "required",
    "too_long",
    "too_many",
    "too_many_requests",
    "unsupported_media_type",
]


class GoText(str):
    """A value as Go's %#v prints it, for messages that quote structures: `map[string]string{"app":"x"}`."""

    __slots__ = ()

    @classmethod
    def string_map(cls, value: Mapping[str, Any] | None) -> "GoText":
        if value is None:
            return cls("map[string]string(nil)")
        return cls(
            "map[string]string{" + ", ".join(f"{_quoted(k)}:{_quoted(v)}" for k, v in sorted(value.items())) + "}"
        )

    @classmethod
    def strings(cls, values: Iterable[Any] | None) -> "GoText":
        return cls("[]string(nil)") if values is None else cls("[]string{" + ", ".join(map(_quoted, values)) + "}")

    @classmethod
    def selector(cls, value: Mapping[str, Any] | None) -> "GoText":
        """Print a metav1.LabelSelector."""
        if value is None:
            return cls("null")
        terms = [
            f"v1.LabelSelectorRequirement{{Key:{_quoted(t.get('key', ''))}, Operator:{_quoted(t.get('operator', ''))}, "
            f"Values:{cls.strings(t.get('values'))}}}"
            for t in value.get("matchExpressions") or ()
        ]
        expressions = "{" + ", ".join(terms) + "}" if terms else "(nil)"
        labels = cls.string_map(value.get("matchLabels"))
        return cls(
            f"v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement{expressions}}}"
        )


class StatusError(Exception):
    """An API failure: `status()` is the `kind: Status` body that a client gets."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field, as `field.Error` of Kubernetes."""

    path: str
    """As Kubernetes writes it: `spec.ports[0].targetPort`."""
    reason: str
    """FieldValueRequired, FieldValueInvalid, FieldValueDuplicate, FieldValueNotSupported, FieldValueForbidden."""
    message: str
    """What follows the path: `Required value`, `Invalid value: "x": must be ...`."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def _quoted(value: Any) -> str:
    """Write a value as Kubernetes' messages do: strings in quotes, numbers bare."""
    if isinstance(value, GoText):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        import json

        return json.dumps(value, separators=(",", ":"))
    return "null" if value is None else str(value)


def required(path: str, why: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def invalid_value(path: str, value: Any, why: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {why}")


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {_quoted(value)}")


def not_supported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    values = ", ".join(f'"{v}"' for v in sorted(supported))
    message = f"Unsupported value: {_quoted(value)}: supported values: {values}"
    return FieldError(path, "FieldValueNotSupported", message)


def forbidden_field(path: str, why: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {why}")


def not_found_field(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueNotFound", f"Not found: {_quoted(value)}")


def too_long(path: str, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(path: str, have: int, limit: int) -> FieldError:
    return FieldError(path, "FieldValueTooMany", f"Too many: {have}: must have at most {limit} items")


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, name: str, group: str = "") -> StatusError:
    return StatusError(
        404,
        "NotFound",
        f'{_qualified(plural, group)} "{name}" not found',
        {"name": name, "group": group, "kind": plural} if group else {"name": name, "kind": plural},
    )


def already_exists(plural: str, name: str, group: str = "") -> StatusError:
    return StatusError(
        409,
        "AlreadyExists",
        f'{_qualified(plural, group)} "{name}" already exists',
        {"name": name, "group": group, "kind": plural} if group else {"name": name, "kind": plural},
    )


def conflict(plural: str, name: str, group: str = "", why: str = "") -> StatusError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}',
        {"name": name, "group": group, "kind": plural} if group else {"name": name, "kind": plural},
    )


def invalid(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> StatusError:
    """Build the 422 answer; `kind` is the Kind, not the plural, as in Kubernetes."""
    text = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(map(str, errors)) + "]"
    details: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "causes": [{"reason": e.reason, "message": e.message, "field": e.path} for e in errors],
    }
    if group:
        details["group"] = group
    return StatusError(422, "Invalid", f'{_qualified(kind, group)} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(plural: str, name: str, why: str, group: str = "") -> StatusError:
    return StatusError(
        403, "Forbidden", f'{_qualified(plural, group)} "{name}" is forbidden: {why}', {"name": name, "kind": plural}
    )


def gone(message: str) -> StatusError:
    """The watch or list starts before what the server remembers."""
    return StatusError(410, "Expired", message)


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> StatusError:
    return StatusError(405, "MethodNotAllowed", message)


def unsupported_media_type(message: str) -> StatusError:
    return StatusError(415, "UnsupportedMediaType", message)


def too_many_requests(message: str, retry_after: int | None = None) -> StatusError:
    details = {"retryAfterSeconds": retry_after} if retry_after is not None else None
    return StatusError(429, "TooManyRequests", message, details)


def internal(message: str) -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")
