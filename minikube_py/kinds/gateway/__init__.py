"""The kinds of the Gateway API, one file each (TLS, TCP and UDP routes share one); `schema` has what they share.

In a real cluster these are CustomResourceDefinitions that somebody installs; here they are served from the start, with
the definitions' defaults, structure and rules (CEL), each rule written in Python. Installing the definitions replaces
these kinds by theirs, without the rules. Left out: BackendTLSPolicy, ListenerSet, and the experimental fields (retry,
session persistence, frontend TLS validation), but for the CORS filter.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from minikube_py.kinds.gateway import gateway, gatewayclass, grpcroute, httproute, l4routes, referencegrant
from minikube_py.kinds.kind import Kind

__all__ = ["KINDS"]

KINDS: tuple[Kind, ...] = (
    *gatewayclass.KINDS,
    *gateway.KINDS,
    *httproute.KINDS,
    *grpcroute.KINDS,
    *l4routes.KINDS,
    *referencegrant.KINDS,
)
