"""Image references as Docker writes them, and the patterns that pick them.

`docker.io/library/nginx:1.25@sha256:…`, `library/nginx` and `nginx` are one repository.
Source: https://pkg.go.dev/github.com/distribution/reference (familiar names).
"""

import re
from fnmatch import fnmatchcase

from msgspec import Struct

__all__ = ["Reference", "picks", "why_invalid"]

_HUBS = ("docker.io/", "index.docker.io/", "registry-1.docker.io/", "registry.hub.docker.com/")


class Reference(Struct, frozen=True):
    """A parsed image reference."""

    repository: str
    """The familiar name: without Docker Hub's host and without `library/`."""
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, image: str) -> "Reference":
        """Read a reference; any text is one, so that an odd image still gets the generic app."""
        name, _, digest = image.strip().partition("@")
        head, slash, last = name.rpartition("/")
        last, _, tag = last.partition(":")
        repository = f"{head}{slash}{last}"
        for hub in _HUBS:
            repository = repository.removeprefix(hub)
        repository = repository.removeprefix("library/")
        return cls(repository, tag or "latest", digest)

    @property
    def canonical(self) -> str:
        """The name with its host, as `status.containerStatuses[].image` shows it: `docker.io/library/nginx:1.25`."""
        head, _, _ = self.repository.partition("/")
        if "/" in self.repository and ("." in head or ":" in head or head == "localhost"):
            full = self.repository
        elif "/" in self.repository:
            full = f"docker.io/{self.repository}"
        else:
            full = f"docker.io/library/{self.repository}"
        return f"{full}@{self.digest}" if self.digest else f"{full}:{self.tag}"


def picks(pattern: str, image: str) -> bool:
    """Tell whether a pattern of the user or of a built-in image picks `image`.

    fnmatch wildcards are allowed; a pattern without tag picks every tag, one with a digest only that digest.
    """
    wanted, actual = Reference.parse(pattern), Reference.parse(image)
    if pattern == image:
        return True
    if not fnmatchcase(actual.repository, wanted.repository):
        return False
    if wanted.digest and wanted.digest != actual.digest:
        return False
    tagged = ":" in pattern.partition("@")[0].rpartition("/")[2]
    return not tagged or fnmatchcase(actual.tag, wanted.tag)


_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_NAME = rf"(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
_ALGORITHM = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*"
_VALID = re.compile(rf"{_NAME}(?::\w[\w.-]{{0,127}})?(?:@{_ALGORITHM}:[0-9a-fA-F]{{32,}})?", re.ASCII)
_PLACEHOLDER = frozenset("<>{}[]$")


def why_invalid(image: str) -> str:
    """Return what a container runtime says of a text that can't be a reference; "" for others.

    A template's placeholder, such as `<your-image>`, stands for some image, and passes.
    Source: https://github.com/distribution/reference (its grammar)
    """
    if _VALID.fullmatch(image) or _PLACEHOLDER & set(image):
        return ""
    why = "invalid reference format"
    if _VALID.fullmatch(image.lower()):
        why += f": repository name ({Reference.parse(image).repository}) must be lowercase"
    return why
