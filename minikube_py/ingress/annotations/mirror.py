"""`mirror-target`: each request is also sent to another URL, whose answer is thrown away.

Left out: bodies; a request with a body is mirrored with its headers only (`mirror-request-body: off`).
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("mirror-target", "mirror-request-body", "mirror-host")
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if url := draft.text("mirror-target"):
        if not url.startswith("http://"):
            draft.problem("mirror-target", "must be an http:// URL here")
            return
        draft.set(mirror=url, mirror_host=draft.text("mirror-host") or "")
