"""The addresses of a running cluster, as `up` and `status` print them."""

from typing import Any

from minikube_py.cli.console import table

__all__ = ["addresses"]


def addresses(facts: dict[str, Any]) -> str:
    """Return one line per Ingress host and Service that can be called now."""
    rows = [("", entry["name"], entry["url"], entry["about"]) for entry in facts.get("urls") or ()]
    if not rows:
        return "  (no Services or Ingresses yet)"
    return table(rows)
