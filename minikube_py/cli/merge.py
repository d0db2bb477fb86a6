"""Merging a cluster's kubeconfig into the user's own, only when asked to."""

import os
from pathlib import Path
from typing import Any

__all__ = ["merge_into_own"]


def merge_into_own(source: Path) -> Path:
    """Add cluster, user and context of `source` to the user's kubeconfig; the current context stays.

    Error handling: OSError when the file can't be written; the file is replaced in one step, never half.
    """
    import yaml

    own = Path((os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")).split(os.pathsep)[0])
    if own.resolve() == source.resolve():
        return own
    new: dict[str, Any] = yaml.safe_load(source.read_text())
    old: dict[str, Any] = (yaml.safe_load(own.read_text()) if own.exists() else None) or {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": new["current-context"],
    }
    for part in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in new[part]}
        old[part] = [entry for entry in old.get(part) or () if entry["name"] not in names] + new[part]
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = own.with_name(own.name + ".mkpy")
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump(old, file, sort_keys=False)
    staged.replace(own)
    return own
