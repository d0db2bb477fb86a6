"""Reading a tool's options as getopt_long does: `-abc`, `-n5`, `-n 5`, `--name=value`, `--name value`, `--`."""

from collections.abc import Mapping, Sequence

from minikube_py.images.shell.process import UsageError

__all__ = ["Options", "read_options"]


class Options:
    """The options found; `rest` are the operands."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.rest: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: str = "") -> str:
        """Return the last value given."""
        return self.values[name][-1] if name in self.values else default

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def number(self, name: str, default: float) -> float:
        """Return a numeric value; UsageError for anything else."""
        text = self.get(name)
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"invalid number '{text}'") from None


def read_options(
    args: Sequence[str], spec: str, long: Mapping[str, str] | None = None, *, code: int = 1, stop: bool = False
) -> Options:
    """Read `args`.

    Args:
        spec: letters; a colon after one says that it takes a value.
        long: long name (a trailing `=`: takes a value) → the letter or name that it is stored under.
        code: the exit code of a wrong call.
        stop: the first operand ends the options (xargs, timeout, env).
    """
    found = Options()
    names = {name.rstrip("="): (target, name.endswith("=")) for name, target in (long or {}).items()}
    takes = {spec[i] for i in range(len(spec) - 1) if spec[i + 1] == ":"}
    letters = set(spec) - {":"}
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--":
            found.rest.extend(queue)
            break
        if arg.startswith("--"):
            name, equals, value = arg[2:].partition("=")
            if name not in names:
                raise UsageError(f"unrecognized option: {name}", code)
            target, valued = names[name]
            if valued and not equals:
                if not queue:
                    raise UsageError(f"option requires an argument: {name}", code)
                value = queue.pop(0)
            found.values.setdefault(target, []).append(value)
        elif arg.startswith("-") and len(arg) > 1:
            text = arg[1:]
            while text:
                letter, text = text[0], text[1:]
                if letter not in letters:
                    raise UsageError(f"unrecognized option: {letter}", code)
                if letter in takes:
                    if not text and not queue:
                        raise UsageError(f"option requires an argument: {letter}", code)
                    found.values.setdefault(letter, []).append(text or queue.pop(0))
                    break
                found.values.setdefault(letter, []).append("")
        else:
            found.rest.append(arg)
            if stop:
                found.rest.extend(queue)
                break
    return found
