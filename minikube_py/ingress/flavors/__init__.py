"""The ingress controllers that can run here: one controller = one file.

To add one, write `flavors/<name>.py` with `FLAVOR = Flavor(...)` and put its name in `NAMES`: how it is called and
where it lives, how it reads annotations (`read`), what ImplementationSpecific means to it (`paths`), the
headers it sets and the pages it answers with. Routing, TLS, proxying and balancing are everybody's.
"""

from functools import cache
from importlib import import_module

from minikube_py.ingress.flavors.flavor import Flavor

__all__ = ["NAMES", "Flavor", "flavor"]

NAMES = ("nginx", "traefik", "alb", "gce", "kong", "istio", "contour")
"""Names of the classes; `ingress.controllers` of the cluster file lists those that run."""


@cache  # a pure list of this package's own modules
def flavor(name: str) -> Flavor:
    """Return a controller by the name of its class."""
    found: Flavor = import_module(f"{__name__}.{name}").FLAVOR
    return found
