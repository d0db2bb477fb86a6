"""Passwords as htpasswd writes them: {SHA}, {SSHA}, {PLAIN}, apr1-MD5, and the system's crypt (bcrypt, SHA-512).

The standard library has no crypt any more (Python 3.13); libcrypt is asked where the system has one.
"""

import base64
import hashlib
import hmac
from functools import cache
from typing import Any

__all__ = ["supported", "verify"]

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def supported(stored: str) -> bool:
    """Tell whether a stored password can be checked here."""
    return stored.startswith(("{SHA}", "{SSHA}", "{PLAIN}", "$apr1$")) or _libcrypt() is not None


def verify(password: str, stored: str) -> bool:
    """Tell whether a password is the stored one; False for what can't be checked."""
    plain = password.encode()
    if stored.startswith("{PLAIN}"):
        return hmac.compare_digest(plain, stored[7:].encode())
    if stored.startswith("{SHA}"):
        return hmac.compare_digest(base64.b64encode(hashlib.sha1(plain).digest()).decode(), stored[5:])
    if stored.startswith("{SSHA}"):
        raw = base64.b64decode(stored[6:])
        return hmac.compare_digest(hashlib.sha1(plain + raw[20:]).digest(), raw[:20])
    if stored.startswith("$apr1$"):
        salt = stored.split("$")[2]
        return hmac.compare_digest(apr1(plain, salt.encode()), stored)
    library = _libcrypt()
    if library is None:
        return False
    result: bytes | None = library.crypt(plain, stored.encode())
    return result is not None and not result.startswith(b"*") and hmac.compare_digest(result, stored.encode())


@cache  # one shared library per process
def _libcrypt() -> Any:
    import ctypes
    import ctypes.util

    name = ctypes.util.find_library("crypt")
    if name is None:
        return None
    try:
        library = ctypes.CDLL(name)
        library.crypt.restype = ctypes.c_char_p
        library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    except (OSError, AttributeError):
        return None
    return library


def apr1(password: bytes, salt: bytes) -> str:
    """Return Apache's MD5 hash, htpasswd's default (apr_md5.c)."""
    salt = salt[:8]
    inner = hashlib.md5(password + salt + password).digest()
    text = password + b"$apr1$" + salt
    text += b"".join(inner[: min(16, left)] for left in range(len(password), 0, -16))
    length = len(password)
    while length:
        text += b"\0" if length & 1 else password[:1]
        length >>= 1
    final = hashlib.md5(text).digest()
    for round_ in range(1000):
        text = password if round_ & 1 else final
        if round_ % 3:
            text += salt
        if round_ % 7:
            text += password
        text += final if round_ & 1 else password
        final = hashlib.md5(text).digest()
    out = ""
    for a, b, c in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        value = final[a] << 16 | final[b] << 8 | final[c]
        for _ in range(4):
            out += _ALPHABET[value & 63]
            value >>= 6
    out += _ALPHABET[final[11] & 63] + _ALPHABET[final[11] >> 6]
    return f"$apr1${salt.decode()}${out}"
