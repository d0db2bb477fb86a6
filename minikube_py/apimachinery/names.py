"""Names: which are allowed, how generated ones look, and which known one is nearest to a misspelled one.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and k8s.io/apimachinery/pkg/util/rand.
"""

import difflib
import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

__all__ = [
    "ALPHABET",
    "config_key_errors",
    "dns_1035_label_errors",
    "dns_label_errors",
    "dns_subdomain_errors",
    "generated",
    "label_value_errors",
    "nearest",
    "path_segment_errors",
    "port_name_errors",
    "qualified_name_errors",
    "template_hash",
    "wildcard_subdomain_errors",
]

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own: no vowels and no look-alikes (util/rand), so that no word is spelled by accident."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


def generated(prefix: str, chance: random.Random, length: int = 5) -> str:
    """Return `prefix` plus random characters, cut as `metadata.generateName` is (63 characters in all)."""
    return prefix[: 63 - length] + "".join(chance.choices(ALPHABET, k=length))


def template_hash(value: Any, collisions: int = 0) -> str:
    """Return the short stable hash by which ReplicaSets and ControllerRevisions are named.

    Kubernetes hashes the Go value with FNV-1a; ours differs in value, not in form (8 to 10 of `ALPHABET`).
    """
    digest = hashlib.sha256(json.dumps([value, collisions], sort_keys=True).encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def dns_label_errors(name: str) -> list[str]:
    """Return what RFC 1123 forbids in a label, in Kubernetes' words."""
    found = []
    if len(name) > 63:
        found.append("must be no more than 63 bytes")
    if not _LABEL.fullmatch(name):
        found.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
    return found


def dns_subdomain_errors(name: str) -> list[str]:
    """Return what RFC 1123 forbids in a subdomain, in Kubernetes' words."""
    found = []
    if len(name) > 253:
        found.append("must be no more than 253 bytes")
    if not _SUBDOMAIN.fullmatch(name):
        found.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    return found


def dns_1035_label_errors(name: str) -> list[str]:
    """Return what RFC 1035 forbids in a label (names of Services), in Kubernetes' words."""
    found = []
    if len(name) > 63:
        found.append("must be no more than 63 bytes")
    if not _LABEL_1035.fullmatch(name):
        found.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    return found


def wildcard_subdomain_errors(name: str) -> list[str]:
    """Return what is wrong with a host such as `*.example.com`, in Kubernetes' words."""
    found = []
    if len(name) > 253:
        found.append("must be no more than 253 bytes")
    if not (name.startswith("*.") and _SUBDOMAIN.fullmatch(name[2:])):
        found.append(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
            r"'*.example.com', regex used for validation is "
            r"'\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    return found


def port_name_errors(name: str) -> list[str]:
    """Return what is wrong with a port's name (IANA_SVC_NAME, RFC 6335), in Kubernetes' words."""
    found = []
    if len(name) > 15:
        found.append("must be no more than 15 bytes")
    if not re.fullmatch(r"[-a-z0-9]+", name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def config_key_errors(key: str) -> list[str]:
    """Return what is wrong with a key of a ConfigMap or Secret, in Kubernetes' words."""
    found = []
    if len(key) > 253:
        found.append("must be no more than 253 bytes")
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
        found.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    if key == ".":
        found.append("must not be '.'")
    elif key == "..":
        found.append("must not be '..'")
    elif key.startswith(".."):
        found.append("must not start with '..'")
    return found


def path_segment_errors(name: str) -> list[str]:
    """Return what is wrong with a name that is only a segment of a URL path (RBAC), in Kubernetes' words."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in name]


def label_value_errors(value: str) -> list[str]:
    """Return what is wrong with a label's value, in Kubernetes' words."""
    found = []
    if len(value) > 63:
        found.append("must be no more than 63 bytes")
    if value and not _QUALIFIED.fullmatch(value):
        found.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            r"validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return found


@lru_cache(maxsize=4096)
def qualified_name_errors(name: str) -> Sequence[str]:
    """Return what is wrong with a label's or annotation's key, in Kubernetes' words.

    Remembered, because a cluster's objects share a few dozen keys.
    """
    prefix, slash, rest = name.rpartition("/")
    found: list[str] = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found.extend(f"prefix part {error}" for error in dns_subdomain_errors(prefix))
    if not rest:
        found.append("name part must be non-empty")
    elif len(rest) > 63:
        found.append("name part must be no more than 63 bytes")
    if rest and not _QUALIFIED.fullmatch(rest):
        found.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return tuple(found)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, if any is near enough to be what was meant."""
    candidates = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else None
