"""The examples that come with the package: `configs/` and `demos/`, wherever mkpy was installed from."""

from pathlib import Path

from minikube_py.cli.console import note

__all__ = ["folder", "located"]


def folder(name: str) -> Path:
    """Return the shipped `configs` or `demos`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_shipped" / name
    return inside if inside.is_dir() else package.parent / name


def located(path: str) -> str:
    """Return `path`, or the shipped example of that name if there is no such file here (`configs/coffee-shop.yaml`)."""
    if path == "-" or Path(path).exists():
        return path
    first, *rest = Path(path).parts or ("",)
    if first in ("configs", "demos") and rest:
        found = folder(first).joinpath(*rest)
        if found.exists():
            note(f"using the shipped example {found}")
            return str(found)
    return path
