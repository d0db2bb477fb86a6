"""Commands that change the shell itself: cd, export, read, set, trap, …

Each takes a `Process` whose `shell` is the shell to change. To add one, write it in the module of its kind and list it
in that module's `BUILTINS`; `table` puts them together.
"""

from minikube_py.images.shell.builtins.table import BUILTINS, DECLARATIONS, SPECIAL

__all__ = ["BUILTINS", "DECLARATIONS", "SPECIAL"]
