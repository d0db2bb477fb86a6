"""IntOrString: `2` or `25%` of something. Source: k8s.io/apimachinery/pkg/util/intstr."""

__all__ = ["scaled"]


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """Return the number meant: of a percentage, that part of `total`.

    Error handling: ValueError for text that is no percentage.
    """
    if isinstance(value, str):
        if not value.endswith("%"):
            raise ValueError(f"invalid value for IntOrString: {value!r} is neither a number nor a percentage")
        share = int(value[:-1]) * total
        return -(-share // 100) if round_up else share // 100
    return int(value)
