"""The kubeconfig by which kubectl and every other client finds the cluster: context `mkpy-<name>`, token, private CA.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import base64
import os
from pathlib import Path
from typing import Any

import msgspec

from minikube_py.apiserver.credentials import Credentials, write_private

__all__ = ["kubeconfig", "write"]


def kubeconfig(name: str, url: str, credentials: Credentials, *, namespace: str = "default") -> dict[str, Any]:
    """Return the configuration of one cluster."""
    context = f"mkpy-{name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": context,
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "server": url,
                    "certificate-authority-data": base64.b64encode(credentials.authority.cert_pem).decode(),
                },
            }
        ],
        "users": [{"name": context, "user": {"token": credentials.token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
    }


def write(path: Path, name: str, url: str, credentials: Credentials) -> None:
    """Write the kubeconfig, mode 0600, in one step (a reader never sees half of it)."""
    import yaml

    config = msgspec.to_builtins(kubeconfig(name, url, credentials))
    text = yaml.safe_dump(config, sort_keys=False)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(unfinished, text.encode())
    unfinished.replace(path)
