"""Annotations of ingress-nginx: one annotation (or family) = one file.

To add one, write `annotations/<name>.py` with three names and list the module in `_MODULES` below:

    NAMES = ("rewrite-target",)            # without the prefix nginx.ingress.kubernetes.io/
    PHASE = Phase.REWRITE                  # when its filter runs (options.Phase, nginx's order)

    def apply(draft: Draft) -> None:       # called only if the Ingress has one of NAMES
        draft.filters.append(...)          # or draft.set(read_timeout=...), draft.aliases, …

`Draft`'s readers (`text`, `flag`, `number`, `seconds`, …) report a value that can't be read as a problem of the Ingress
and return None, so that one bad annotation never takes the rest down. Filters are pure (`ingress.options`).
Source: https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from types import ModuleType

from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.names import nearest
from minikube_py.ingress.annotations.draft import PREFIX, Draft
from minikube_py.ingress.options import DEFAULTS, Options
from minikube_py.ingress.rules.sources import Sources

__all__ = ["PREFIX", "Draft", "known", "read"]

_MODULES = (
    "use_regex",
    "server_alias",
    "from_to_www_redirect",
    "service_upstream",
    "default_backend",
    "preserve_trailing_slash",
    "relative_redirects",
    "ssl_passthrough",
    "ssl_redirect",
    "force_ssl_redirect",
    "app_root",
    "permanent_redirect",
    "temporal_redirect",
    "enable_cors",
    "rewrite_target",
    "x_forwarded_prefix",
    "limit_connections",
    "limit_rps",
    "whitelist_source_range",
    "denylist_source_range",
    "auth_type",
    "auth_url",
    "canary",
    "affinity",
    "load_balance",
    "upstream_hash_by",
    "proxy_body_size",
    "proxy_timeouts",
    "proxy_next_upstream",
    "backend_protocol",
    "upstream_vhost",
    "mirror",
    "custom_headers",
    "custom_http_errors",
    "proxy_cookie",
    "proxy_redirect",
    "satisfy",
    "without_effect",
)


@cache  # a pure list of this package's own modules
def _readers() -> tuple[tuple[frozenset[str], Callable[[Draft], None]], ...]:
    modules: Iterable[ModuleType] = (import_module(f"{__name__}.{name}") for name in _MODULES)
    return tuple((frozenset(module.NAMES), module.apply) for module in modules)


def known() -> frozenset[str]:
    """Return every annotation that a file here reads, without its prefix."""
    return frozenset().union(*(names for names, _ in _readers()))


def read(ingress: Object, sources: Sources, defaults: Options = DEFAULTS) -> Draft:
    """Read all annotations of one Ingress."""
    draft = Draft(ingress, sources, defaults)
    if not draft.values:
        return draft
    given = set(draft.values)
    for names, apply in _readers():
        if not given.isdisjoint(names):
            apply(draft)
    for name in sorted(given - known()):
        close = nearest(name, known())
        hint = f"; did you mean {PREFIX}{close}?" if close else ""
        draft.unknown.append(f"{PREFIX}{name} is not known to this controller and has no effect{hint}")
    return draft
