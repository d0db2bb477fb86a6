"""IntOrString: `3` or `25%` of something.

Source: k8s.io/apimachinery/pkg/util/intstr.
"""

__all__ = ["scaled"]


def scaled(value: int | str | None, total: int, *, up: bool, default: int | str = 0) -> int:
    """Return the number that `value` means of `total`; percentages are rounded up or down.

    Error handling: ValueError for text that is no percentage.
    """
    if value is None:
        value = default
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        return int(value)
    product = int(value[:-1]) * total
    return -(-product // 100) if up else product // 100
