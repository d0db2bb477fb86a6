"""One entry of `images:`: which program stands for an image pattern, with the options of its kind.

{aiohttp: "pkg.mod:app_or_factory", port: 8080, reload: true}
{asgi: "pkg.mod:app", factory: true, port: 8000, lifespan: "on", reload: true}
{wsgi: "pkg.mod:app", port: 8000, threads: 4, reload: true}
{tcp: "pkg.mod:handler", port: 9000, reload: true}
{command: ["program", "argument"], port: 8080, cwd: ".", env: {NAME: value}}
{like: "nginx"}          {absent: true}
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import names
from minikube_py.apimachinery.errors import FieldError, invalid_value, not_supported

__all__ = ["IMAGE_KINDS", "IMPORTED", "OPTIONS", "mapping_errors"]

IMPORTED = ("aiohttp", "asgi", "wsgi", "tcp")
"""Kinds whose value is code: an import string, or from Python the thing itself."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "aiohttp": {"port": int, "reload": bool},
    "asgi": {"port": int, "factory": bool, "lifespan": ("auto", "on", "off"), "reload": bool},
    "wsgi": {"port": int, "threads": int, "reload": bool},
    "tcp": {"port": int, "drain": float, "reload": bool},
    "command": {"port": int, "cwd": str, "env": dict},
    "like": {},
    "absent": {},
}
"""Kind → what may stand beside it, and its type or its choices."""

IMAGE_KINDS = tuple(OPTIONS)

_WORDS = {int: "a whole number", bool: "true or false", float: "a number of seconds", str: "a string"}


def mapping_errors(path: str, runs: Any) -> list[FieldError]:
    """Return what is wrong with one entry; `path` is `images[<pattern>]`."""
    chosen = [kind for kind in IMAGE_KINDS if isinstance(runs, Mapping) and kind in runs]
    if not isinstance(runs, Mapping) or len(chosen) > 1:
        return [invalid_value(path, runs, f"must have exactly one of {', '.join(IMAGE_KINDS)}")]
    if not chosen:
        known = (*IMAGE_KINDS, *{option for options in OPTIONS.values() for option in options})
        near = next(filter(None, (names.nearest(str(key), known) for key in runs)), None)
        hint = f', did you mean "{near}"?' if near else ""
        return [invalid_value(path, runs, f"must have exactly one of {', '.join(IMAGE_KINDS)}{hint}")]
    kind = chosen[0]
    errors = _program_errors(f"{path}.{kind}", kind, runs[kind])
    for key, value in runs.items():
        if key != kind:
            errors += _option_errors(f"{path}.{key}", kind, str(key), value)
    return errors


def _program_errors(path: str, kind: str, value: Any) -> list[FieldError]:
    if kind in IMPORTED:
        if isinstance(value, str) and (":" not in value or not all(value.partition(":")[::2])):
            return [invalid_value(path, value, 'must be "module:attribute"')]
        if not isinstance(value, str) and not callable(value) and not hasattr(value, "on_startup"):
            return [invalid_value(path, value, 'must be "module:attribute" or a callable')]
    elif kind == "command":
        if not (isinstance(value, list | tuple) and value and all(isinstance(word, str) for word in value)):
            return [invalid_value(path, value, "must be a list of strings, the program first")]
    elif kind == "like" and not isinstance(value, str):
        return [invalid_value(path, value, "must be the name of an image")]
    elif kind == "absent" and value is not True:
        return [invalid_value(path, value, "must be true")]
    return []


def _option_errors(path: str, kind: str, key: str, value: Any) -> list[FieldError]:
    options = OPTIONS[kind]
    if key not in options:
        near = names.nearest(key, options)
        if near:
            hint = f', did you mean "{near}"?'
        else:
            hint = f"; beside {kind} there may be {', '.join(options)}" if options else f"; {kind} stands alone"
        return [FieldError(path, "FieldValueInvalid", f"unknown field{hint}")]
    wanted = options[key]
    if isinstance(wanted, tuple):
        return [] if value in wanted else [not_supported(path, value, wanted)]
    if wanted is dict:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for pair in value.items() for v in pair):
            return [invalid_value(path, value, "must map names to strings")]
        return []
    accepted = (int, float) if wanted is float else (wanted,)
    if type(value) not in accepted:
        return [invalid_value(path, value, f"must be {_WORDS[wanted]}")]
    if key == "port" and not 0 < value < 65536:
        return [invalid_value(path, value, "must be between 1 and 65535, inclusive")]
    if key == "threads" and value < 1:
        return [invalid_value(path, value, "must be at least 1")]
    return []
