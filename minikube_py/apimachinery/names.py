"""Names: which are allowed, how generated ones look, and which known one is nearest to a misspelled one.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and k8s.io/apimachinery/pkg/util/rand.
"""

import difflib
import hashlib
import json
import random
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ALPHABET",
    "dns_label_errors",
    "dns_subdomain_errors",
    "generated",
    "label_value_errors",
    "nearest",
    "qualified_name_errors",
    "template_hash",
]

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own: no vowels and no look-alikes (util/rand), so that no word is spelled by accident."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
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
        found.append("must be no more than 63 characters")
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
        found.append("must be no more than 253 characters")
    if not _SUBDOMAIN.fullmatch(name):
        found.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    return found


def label_value_errors(value: str) -> list[str]:
    """Return what is wrong with a label's value, in Kubernetes' words."""
    found = []
    if len(value) > 63:
        found.append("must be no more than 63 characters")
    if value and not _QUALIFIED.fullmatch(value):
        found.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            r"validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return found


def qualified_name_errors(name: str) -> list[str]:
    """Return what is wrong with a label's or annotation's key, in Kubernetes' words."""
    prefix, slash, rest = name.rpartition("/")
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found.extend(f"prefix part {error}" for error in dns_subdomain_errors(prefix))
    if not rest:
        found.append("name part must be non-empty")
    elif len(rest) > 63:
        found.append("name part must be no more than 63 characters")
    if rest and not _QUALIFIED.fullmatch(rest):
        found.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return found


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, if any is near enough to be what was meant."""
    candidates = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else None
