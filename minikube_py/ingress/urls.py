"""Redirect targets and nginx variables: strings from a `Call`."""

import re

from minikube_py.ingress.options import Call
from minikube_py.ingress.router import cookie

__all__ = ["expand", "location"]

_VARIABLE = re.compile(r"\$\{?([a-z][a-z0-9_]*)\}?")


def location(call: Call, *, scheme: str = "", host: str = "", uri: str = "") -> str:
    """Return an absolute URL of the request's own server, with another scheme, host name or URI.

    A caller who named a port (`shop.localhost:8080`) came by the host's own door: HTTPS is at `call.https_port` there.
    """
    scheme = scheme or call.scheme
    name, port = _split(call.host)
    if port and scheme == "https" and call.scheme == "http":
        port = str(call.https_port)
    standard = "443" if scheme == "https" else "80"
    return f"{scheme}://{host or name}{f':{port}' if port and port != standard else ''}{uri or call.uri}"


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")


def expand(text: str, call: Call) -> str:
    """Replace the nginx variables that annotations use; an unknown one is empty, as an unset one is in nginx."""
    if "$" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("http_"):
            return call.headers.get(name[5:].replace("_", "-"), "")
        if name.startswith("cookie_"):
            return cookie(call.headers, name[7:]) or ""
        if name.startswith("arg_"):
            for part in call.query.split("&"):
                key, _, found = part.partition("=")
                if key == name[4:]:
                    return found
            return ""
        match name:
            case "request_uri":
                return call.uri
            case "escaped_request_uri":
                return re.sub(r"[^A-Za-z0-9\-._~]", lambda m: f"%{ord(m[0]):02X}", call.uri)
            case "uri":
                return call.normalized
            case "args" | "query_string":
                return call.query
            case "host" | "best_http_host":
                return _split(call.host)[0] if name == "host" else call.host
            case "scheme" | "pass_access_scheme":
                return call.scheme
            case "remote_addr" | "binary_remote_addr" | "the_real_ip":
                return call.remote
            case "request_method":
                return call.method
            case "request_id" | "req_id":
                return call.request_id
        return ""

    return _VARIABLE.sub(value, text)
