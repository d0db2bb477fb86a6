"""`$(VAR)` in commands, arguments and environment values.

Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
"""

import re
from collections.abc import Mapping

__all__ = ["expand"]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; unknown names stay as they are, `$$` is a dollar sign."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^()]*)\)", replace, text) if "$" in text else text
