"""Lists in pages: what is left of a list is kept as it was, so that its pages fit together.

Stands for etcd's revisions behind `limit` and `continue`. Objects never change, so keeping a list costs references.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

import base64
import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence

from minikube_py.apimachinery import errors
from minikube_py.apimachinery.meta import Object

__all__ = ["Pages"]

_MOST = 64
"""Lists that may be under way at a time; the oldest one then expires, as one that etcd has compacted."""


class Pages:
    """The lists that somebody is reading page by page."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, tuple[Sequence[Object], int]] = OrderedDict()

    def keep(self, token: str | None, objects: Sequence[Object], revision: int, start: int) -> str:
        """Keep a list whose next page begins at `start`; return the token for it. `token` led to this page."""
        number = json.loads(base64.urlsafe_b64decode(token))["id"] if token else secrets.token_hex(8)
        self._lists[number] = (objects, revision)
        self._lists.move_to_end(number)
        while len(self._lists) > _MOST:
            self._lists.popitem(last=False)
        return base64.urlsafe_b64encode(json.dumps({"v": "mkpy/v1", "id": number, "start": start}).encode()).decode()

    def resume(self, token: str) -> tuple[Sequence[Object], int, int]:
        """Return the list of a token, its revision, and where its next page begins.

        Error handling: 400 for what is no token of ours, 410 for one that has expired.
        """
        try:
            read = json.loads(base64.urlsafe_b64decode(token))
            number, start = str(read["id"]), int(read["start"])
        except (ValueError, KeyError, TypeError):
            raise errors.bad_request("continue key is not valid: it isn't one that this server gave") from None
        if number not in self._lists:
            raise errors.gone(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        objects, revision = self._lists[number]
        return objects, revision, start
