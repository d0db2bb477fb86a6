"""Which program runs for an image: the user's mapping, the cluster's own programs, stand-ins, the generic app.

Order of decision, first match wins (DESIGN.md §3):
    1. the user's `images:` patterns, in the order given: what the user says always holds
    2. the cluster's own programs (CoreDNS, the ingress controller), injected by `cluster.py`
    3. a shell or a tool as command, or as the first of `args`: the built-in shell, whatever the image is
    4. built-in stand-ins: the modules of `BUILTIN`
    5. the generic app
"""

import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, partial
from types import ModuleType
from typing import Any, TypeGuard, cast

from minikube_py.images.container import Container, Main
from minikube_py.images.reference import Reference, picks
from minikube_py.kinds.imagemapping import IMPORTED, mapping_errors

__all__ = ["BUILTIN", "AbsentImage", "BadMapping", "Catalog", "stand_in"]

BUILTIN = (
    "agnhost",
    "bookinfo",
    "echoserver",
    "guestbook",
    "hello_app",
    "http_echo",
    "httpbin",
    "httpd",
    "kuard",
    "mongo",
    "mysql",
    "nginx",
    "nginx_hello",
    "node_hello",
    "pause",
    "podinfo",
    "postgres",
    "rabbitmq",
    "redis",
    "stress",
    "tcp_echo",
    "toolbox",
    "whoami",
)
"""Modules of this package with `IMAGES` and `main`."""

ADAPTERS = {"aiohttp": "aiohttp_app", "asgi": "asgi", "tcp": "tcp", "wsgi": "wsgi", "command": "command"}
"""Key of a mapping → module with `adapt(value, options) -> Main`."""

_SHELLS = frozenset(("sh", "bash", "ash", "dash", "zsh", "busybox"))
_TOOLS = frozenset(
    (
        *("cat", "curl", "date", "dig", "echo", "env", "false", "getent", "hostname", "ls", "nc", "nslookup"),
        *("mariadb", "mongo", "mongosh", "mysql", "mysqladmin", "ping", "printenv", "rabbitmqctl", "redis-cli"),
        *("sleep", "tail", "test", "true", "wget", "xtrabackup"),
    )
)
"""Commands that are run as such even if the image is unknown: without the real image nothing else can."""


class AbsentImage(Exception):
    """The user marked this image as one that no registry has: the kubelet reports ErrImagePull."""


class BadMapping(ValueError):
    """An entry of `images:` says something impossible; the message names the entry."""

    heals = False
    """Whether the next try may succeed: the entry says `reload: true`."""


def _is_shell(argv: Sequence[str]) -> bool:
    program = argv[0].rpartition("/")[2] if argv else ""
    return program in _SHELLS or program in _TOOLS


@cache
def _builtin() -> Mapping[str, ModuleType]:
    """Import the stand-ins, on first use; they are small, and what is heavy in them is imported lazily."""
    table: dict[str, ModuleType] = {}
    for name in BUILTIN:
        module = importlib.import_module(f"minikube_py.images.{name}")
        for pattern in module.IMAGES:
            table[pattern] = module
    return table


@cache
def _stand_in(repository: str) -> ModuleType | None:
    """Return the stand-in for a repository, wherever it is mirrored (`quay.io/mirror/nginx` is not nginx's own).

    Exact names go before wildcards.
    """
    table = _builtin()
    if repository in table:
        return table[repository]
    return next((module for pattern, module in table.items() if picks(pattern, repository)), None)


def stand_in(image: str) -> str | None:
    """Return the name of the module that stands in for an image; None where only the generic app does."""
    module = _stand_in(Reference.parse(image).repository)
    return None if module is None else module.__name__.rpartition(".")[2]


class Catalog:
    """The images of one cluster.

    `user` maps image patterns to a mapping such as `{"asgi": "pkg.mod:app"}`, or from Python to an object: an
    aiohttp Application or a factory of one, an ASGI or WSGI app, a stream handler, or a `Main`.
    """

    def __init__(self, user: Mapping[str, Any] | None = None, extra: Mapping[str, Main] | None = None) -> None:
        self._extra = dict(extra or {})
        self._user: list[tuple[str, Any]] = []
        self._resolved: dict[tuple[str, bool], Main] = {}
        self._known: dict[str, bool] = {}
        for pattern, value in (user or {}).items():
            self.add(pattern, value)

    def add(self, pattern: str, value: Any) -> None:
        """Map a pattern; BadMapping when `value` can't be understood. A later one doesn't override an earlier one."""
        _check(pattern, value)
        self._user.append((pattern, value))
        self._resolved.clear()
        self._known.clear()

    def known(self, image: str) -> bool:
        """Tell whether anything but the generic app stands for `image`."""
        if (known := self._known.get(image)) is None:
            known = self._known[image] = (
                any(picks(pattern, image) for pattern in (*dict(self._user), *self._extra))
                or _stand_in(Reference.parse(image).repository) is not None
            )
        return known

    def absent(self, image: str) -> bool:
        """Tell whether the user marked the image as one that can't be pulled."""
        value = next((value for pattern, value in self._user if picks(pattern, image)), None)
        return _is_entry(value) and bool(value.get("absent"))

    def resolve(
        self, image: str, *, command: Sequence[str] = (), args: Sequence[str] = (), script: bool = False
    ) -> Main:
        """Return the program for a container; its command may be a `script` of a volume's.

        Error handling: AbsentImage for a marked image; BadMapping when the user's import string leads nowhere.
        """
        # `args` alone go to the image's entrypoint, and what is a program there is run by it (docker-entrypoint.sh).
        shell = script or _is_shell(command or args)
        key = (image, shell)
        if key not in self._resolved:
            self._resolved[key] = self._find(image, shell, ())
        return self._resolved[key]

    def _find(self, image: str, shell: bool, seen: tuple[str, ...]) -> Main:
        for pattern, value in self._user:
            if picks(pattern, image):
                if _is_entry(value) and "like" in value:
                    like = str(value["like"])
                    if like in seen or picks(pattern, like):
                        raise BadMapping(f"images: {pattern!r} is like {like!r}, which leads back to itself")
                    return self._find(like, shell, (*seen, image, like))
                return _adapt(pattern, image, value)
        for pattern, main in self._extra.items():
            if picks(pattern, image):
                return main
        if shell:
            return cast(Main, importlib.import_module("minikube_py.images.toolbox").main)
        if module := _stand_in(Reference.parse(image).repository):
            return cast(Main, module.main)
        return cast(Main, importlib.import_module("minikube_py.images.generic").main)


def _is_entry(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell an entry such as `{asgi: …}` from an object that runs: an aiohttp Application is a Mapping, too."""
    return isinstance(value, Mapping) and not hasattr(value, "on_startup")


def _check(pattern: str, value: Any) -> None:
    """Refuse early what could only fail later, in a pod's log."""
    if not _is_entry(value):
        if not callable(value) and not hasattr(value, "on_startup"):
            raise BadMapping(
                f"images: {pattern!r} is mapped to {value!r}; give a mapping such as "
                '{asgi: "pkg.mod:app"}, or from Python an app, a factory or a handler'
            )
        return
    known = {*ADAPTERS, "like", "absent"}
    if len(chosen := known & value.keys()) != 1:
        raise BadMapping(
            f"images: {pattern!r} needs exactly one of {', '.join(sorted(known))}; it has "
            f"{', '.join(sorted(chosen)) or ', '.join(map(str, value)) or 'nothing'}"
        )
    if chosen & {*IMPORTED} and isinstance(value[min(chosen)], str) and ":" not in value[min(chosen)]:
        raise BadMapping(
            f'images: {pattern!r}: {value[min(chosen)]!r} is no import string; write it as "package.module:name"'
        )
    if errors := mapping_errors(f"images[{pattern}]", value):
        raise BadMapping("; ".join(map(str, errors)))


def _adapt(pattern: str, image: str, value: Any) -> Main:
    if _is_entry(value):
        if value.get("absent"):
            raise AbsentImage(image)
        for key, module in ADAPTERS.items():
            if key in value:
                target = value[key]
                if key != "command" and isinstance(target, str):
                    if value.get("reload"):
                        try:
                            return _reloading(pattern, module, target, value)
                        except BadMapping as error:
                            error.heals = True
                            raise
                    target = _load(pattern, target)
                return _call_adapter(module, target, value)
        raise BadMapping(f"images: {pattern!r} says nothing that can run")
    return _adapt_object(value)


def _adapt_object(value: Any) -> Main:
    """Tell by its shape what kind of program an object is."""
    if hasattr(value, "on_startup") and hasattr(value, "router") and hasattr(value, "make_handler"):
        return _call_adapter("aiohttp_app", value, {})
    call: Callable[..., Any] = value if inspect.isroutine(value) or isinstance(value, partial) else type(value).__call__
    bound = not (inspect.isroutine(value) or isinstance(value, partial) or inspect.isclass(value))
    try:
        parameters = [
            p
            for p in inspect.signature(call).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ][1 if bound else 0 :]
    except (TypeError, ValueError):
        parameters = []
    match len(parameters), inspect.iscoroutinefunction(call):
        case 1, True:
            return cast(Main, value)
        case 2, True:
            return _call_adapter("tcp", value, {})
        case 2, False:
            return _call_adapter("wsgi", value, {})
        case 3, _:
            return _call_adapter("asgi", value, {})
        case _:  # a factory, of an aiohttp app as in `web.run_app(factory())`, or of anything above
            return partial(_run_factory, value)


async def _run_factory(factory: Callable[[], Any], container: Container) -> int | None:
    made = factory()
    if inspect.isawaitable(made):
        made = await made
    return await _adapt_object(made)(container)


def _reloading(pattern: str, module: str, target: str, options: Mapping[str, Any]) -> Main:
    from minikube_py.images.reload import reloading

    return reloading(target, partial(_load, pattern, target), lambda app: _call_adapter(module, app, options))


def _call_adapter(module: str, target: Any, options: Mapping[str, Any]) -> Main:
    adapt = importlib.import_module(f"minikube_py.images.{module}").adapt
    return cast(Callable[[Any, Mapping[str, Any]], Callable[[Container], Awaitable[int | None]]], adapt)(
        target, options
    )


def _load(pattern: str, target: str) -> Any:
    """Import `pkg.mod:name.attribute`."""
    module_name, colon, path = target.partition(":")
    if not colon:
        raise BadMapping(f'images: {pattern!r}: {target!r} is no import string; write it as "package.module:name"')
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's code does when it is imported
        raise BadMapping(f"images: {pattern!r}: {_why_not_imported(module_name, error)}") from error
    try:
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError:
        where = getattr(sys.modules.get(module_name), "__file__", None) or module_name
        names = get_close_matches(path, vars(sys.modules[module_name]), 1) if module_name in sys.modules else []
        hint = f"; did you mean {names[0]!r}?" if names else ""
        raise BadMapping(f"images: {pattern!r}: module {module_name!r} ({where}) has no {path!r}{hint}") from None
    return found


def _why_not_imported(module: str, error: BaseException) -> str:
    """Say where an import failed, and what to do about it."""
    text = f"can't import {module!r}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    inner = [frame for frame in frames if frame.filename != __file__]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text}{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"{text}there is no module {error.name!r}; call mkpy in the folder that has it, or put it on PYTHONPATH"
    text += f"{inner[-1].filename}:{inner[-1].lineno}: " if inner else ""
    text += f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return f"{text}; install it beside minikube-py: {sys.executable} -m pip install {package}"
    return text
