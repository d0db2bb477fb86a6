"""Builtins that change what a shell remembers: cd, export, readonly, local, declare, unset, set, shift, getopts, let.

Leaves out: `umask`'s effect, `declare -f`, `-t` and `-u`.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minikube_py.images.exec import STAND_IN
from minikube_py.images.shell.arrays import Array, Numbers
from minikube_py.images.shell.builtins.words import number
from minikube_py.images.shell.expansion import ExpansionError
from minikube_py.images.shell.process import Process, Tool, UsageError

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["BUILTINS"]


_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def _image_has(shell: "Shell", path: str) -> bool:
    """Tell whether an image that we don't have may have a folder: one where nothing else is, and no volume."""
    container = shell.container
    if STAND_IN not in container.extra or shell.view.exists(path):
        return False
    return not any(path.startswith(f"{mount}/") for mount in ("/tmp", *container.files))


async def _cd(p: Process) -> int:
    args = [arg for arg in p.args if arg not in ("-L", "-P", "--")]
    shell = p.shell
    target = args[0] if args else shell.variables.get("HOME", "/")
    if target == "-":
        target = shell.variables.get("OLDPWD", p.view.cwd)
        await p.out(f"{target}\n")
    path = shell.view.path(target or ".")
    if not shell.view.is_dir(path) and shell.main_session and _image_has(shell, path):
        await p.call(["mkdir", "-p", path])
    if not shell.view.is_dir(path):
        exists = shell.view.exists(path)
        await shell.complain(
            f"cd: can't cd to {target}: {'Not a directory' if exists else 'No such file or directory'}"
        )
        return 1 if shell.bash else 2
    shell.variables["OLDPWD"] = shell.view.cwd
    shell.view.cwd = shell.variables["PWD"] = path
    return 0


async def _pwd(p: Process) -> int:
    await p.out(f"{p.shell.view.cwd}\n")
    return 0


async def _declare(p: Process) -> int:
    """export, readonly, local, declare; what `a=(…)` assigns comes after it."""
    shell = p.shell
    word = p.name
    flags = "".join(arg[1:] for arg in p.args if re.fullmatch(r"-[a-zA-Z]+", arg))
    off = "".join(arg[1:] for arg in p.args if re.fullmatch(r"\+[a-zA-Z]+", arg))
    args = [arg for arg in p.args if not re.fullmatch(r"[-+][a-zA-Z]+|--", arg)]
    if not shell.bash and word != "export" and (bad := set(flags) & set("aAin")):
        raise UsageError(f"bad option -{min(bad)}", 2)
    if word == "local" and not shell.locals:
        raise UsageError("can only be used in a function" if shell.bash else "not in a function", 1)
    if "f" in flags or "F" in flags:
        return await _functions(p, args)
    if not args or "p" in flags:
        return await _shown(p, word, args, flags)
    for arg in args:
        name, equals, value = arg.partition("=")
        append = name.endswith("+")
        name = name.removesuffix("+")
        if not _NAME.fullmatch(name.partition("[")[0]):
            raise UsageError(f"{arg}: bad variable name", 2)
        if word == "export" and "n" in flags:
            shell.exported.discard(name)
            continue
        inside = word in ("local", "declare", "typeset") and shell.locals and "g" not in flags
        if inside and name not in shell.locals[-1]:
            shell.locals[-1][name] = shell.saved(name)
            shell.arrays.pop(name, None)
            shell.targets.pop(name, None)
            if not equals:
                shell.variables.pop(name, None)
        _attributes(shell, name, flags if word != "export" else "", off)
        if equals and "n" in flags:
            shell.targets[name] = value
        elif equals:
            shell.assign(name, (shell.fetch(name) or "") + value if append else value)
        if word == "export" or "x" in flags:
            shell.exported.add(name)
        if word == "readonly" or "r" in flags:
            shell.read_only.add(name)
    return 0


def _attributes(shell: "Shell", name: str, flags: str, off: str) -> None:
    if "i" in flags:
        shell.integers.add(name)
    if "i" in off:
        shell.integers.discard(name)
    if "x" in off:
        shell.exported.discard(name)
    if ("a" in flags or "A" in flags) and name not in shell.arrays:
        value = shell.variables.get(name)
        shell.arrays[name] = Array([] if value is None else [value], associative="A" in flags)


async def _shown(p: Process, word: str, args: list[str], flags: str) -> int:
    """Print the variables of a kind, or with -p those named."""
    shell = p.shell
    if args:
        names = args
    else:
        known = {*shell.variables, *shell.arrays}
        kind = shell.read_only if word == "readonly" else shell.exported if word == "export" else known
        names = sorted(kind & known)
    status = 0
    for name in names:
        array, value = shell.arrays.get(name), shell.variables.get(name)
        if array is None and value is None:
            await p.err(f"{shell.name}: {word}: {name}: not found\n")
            status = 1
        elif not shell.bash:
            await p.out(f"{word} {name}='{value}'\n")
        else:
            letters = ("A" if array.associative else "a") if array is not None else ""
            letters += "".join(
                letter
                for letter, held in (("i", shell.integers), ("r", shell.read_only), ("x", shell.exported))
                if name in held
            )
            text = array.shown() if array is not None else Array([value or ""]).shown()[5:-1]
            await p.out(f"declare -{letters or '-'} {name}={text}\n")
    return status


async def _functions(p: Process, names: list[str]) -> int:
    """declare -F, declare -f: only whether there are such functions, not their text."""
    known = p.shell.functions
    for name in names or sorted(known):
        if name in known:
            await p.out(f"{name}\n" if names else f"declare -f {name}\n")
    return int(any(name not in known for name in names))


async def _unset(p: Process) -> int:
    shell = p.shell
    functions = False
    for arg in p.args:
        if arg in ("-f", "-v", "-n"):
            functions = arg == "-f"
            if arg == "-n":
                for name in p.args:
                    shell.targets.pop(name, None)
        elif functions:
            shell.functions.pop(arg, None)
        elif arg in shell.read_only:
            raise UsageError(f"{arg}: {'cannot unset: readonly variable' if shell.bash else 'is read only'}", 2)
        elif not shell.unset(arg):
            shell.functions.pop(arg, None)
    return 0


_LONG = {
    "errexit": "e",
    "nounset": "u",
    "xtrace": "x",
    "noglob": "f",
    "allexport": "a",
    "noclobber": "C",
    "verbose": "v",
    "errtrace": "E",
}
_WITHOUT_EFFECT = ("pipefail", "vi", "emacs", "posix", "monitor", "notify", "functrace", "history", "braceexpand")
"""But pipefail, which has one under its own name."""


async def _set(p: Process) -> int:
    shell, args = p.shell, list(p.args)
    if not args:
        for name in sorted({*shell.variables, *shell.arrays}):
            array = shell.arrays.get(name)
            await p.out(f"{name}={array.shown()}\n" if array is not None else f"{name}='{shell.variables[name]}'\n")
        return 0
    while args:
        arg = args.pop(0)
        if arg == "--":
            shell.positional = args
            return 0
        if arg in ("-o", "+o") or (arg[:1] in "-+" and arg[-1:] == "o" and len(arg) > 2):
            letters = [char for char in arg[1:] if char != "o"]
            if args:
                name = args.pop(0)
                if name not in _LONG and name not in _WITHOUT_EFFECT:
                    raise UsageError(f"illegal option -o {name}", 2)
                letters.append(_LONG.get(name, name))
        elif arg[:1] in "-+" and len(arg) > 1:
            letters = list(arg[1:])
        else:
            shell.positional = [arg, *args]
            return 0
        for letter in letters:
            (shell.options.add if arg[0] == "-" else shell.options.discard)(letter)
    return 0


async def _shift(p: Process) -> int:
    count = number(p.args[0]) if p.args else 1
    if count > len(p.shell.positional):
        return 1
    p.shell.positional = p.shell.positional[count:]
    return 0


async def _getopts(p: Process) -> int:
    shell = p.shell
    if len(p.args) < 2:
        raise UsageError("usage: getopts optstring var [arg...]", 2)
    spec, name = p.args[:2]
    args = p.args[2:] or shell.positional
    index = int(shell.variables.get("OPTIND", "1"))
    offset = int(shell.variables.get("_OPTOFFSET", "1"))
    if index > len(args) or not args[index - 1].startswith("-") or args[index - 1] in ("-", "--"):
        if index <= len(args) and args[index - 1] == "--":
            index += 1
        shell.variables.update({"OPTIND": str(index), name: "?"})
        return 1
    word = args[index - 1]
    letter = word[offset]
    at = spec.find(letter) if letter != ":" else -1
    value = letter
    shell.variables.pop("OPTARG", None)
    if at < 0:
        value = "?"
        if spec.startswith(":"):
            shell.variables["OPTARG"] = letter
        else:
            await p.shell.complain(f"illegal option -- {letter}")
    elif spec[at + 1 : at + 2] == ":":
        if word[offset + 1 :]:
            shell.variables["OPTARG"] = word[offset + 1 :]
        elif index < len(args):
            index += 1
            shell.variables["OPTARG"] = args[index - 1]
        else:
            value = ":" if spec.startswith(":") else "?"
            if value == ":":
                shell.variables["OPTARG"] = letter
            else:
                await p.shell.complain(f"option requires an argument -- {letter}")
        offset = len(word)
    offset += 1
    if offset >= len(word):
        index, offset = index + 1, 1
    shell.variables.update({"OPTIND": str(index), "_OPTOFFSET": str(offset), name: value})
    return 0


async def _let(p: Process) -> int:
    from minikube_py.images.shell.arithmetic import ArithmeticSyntaxError

    value = 0
    for arg in p.args:
        try:
            value = Numbers(p.shell).value(arg)
        except ArithmeticSyntaxError as error:
            raise ExpansionError(str(error)) from None
    return int(not value)


async def _umask(p: Process) -> int:
    if not p.args:
        await p.out("0022\n")
    return 0


BUILTINS: Mapping[str, Tool] = {
    "cd": _cd,
    "declare": _declare,
    "export": _declare,
    "getopts": _getopts,
    "let": _let,
    "local": _declare,
    "pwd": _pwd,
    "readonly": _declare,
    "set": _set,
    "shift": _shift,
    "typeset": _declare,
    "umask": _umask,
    "unset": _unset,
}
