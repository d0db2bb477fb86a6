"""What a curl command line asks for: its options, the URLs it globs to, its request, what --write-out prints.

Pure but for @files. Leaves out: multipart forms (-F), cookie jars, .curlrc.
"""

import re
from typing import Any
from urllib.parse import SplitResult, quote

from minikube_py.images.shell.process import Process
from minikube_py.images.shell.tools.exchange import Request, basic_auth

__all__ = ["LONG_OPTIONS", "SHORT_OPTIONS", "expand_globs", "request_of", "write_out"]


LONG_OPTIONS = {
    "silent": "s",
    "show-error": "S",
    "fail": "f",
    "fail-with-body": "fail-with-body",
    "include": "i",
    "head": "I",
    "output=": "o",
    "remote-name": "O",
    "write-out=": "w",
    "header=": "H",
    "request=": "X",
    "data=": "d",
    "data-raw=": "data-raw",
    "data-binary=": "data-binary",
    "data-urlencode=": "data-urlencode",
    "json=": "json",
    "form=": "F",
    "form-string=": "form-string",
    "insecure": "k",
    "location": "L",
    "max-time=": "m",
    "connect-timeout=": "connect-timeout",
    "resolve=": "resolve",
    "verbose": "v",
    "user=": "u",
    "user-agent=": "A",
    "referer=": "e",
    "get": "G",
    "retry=": "retry",
    "retry-delay=": "retry-delay",
    "retry-connrefused": "retry-connrefused",
    "retry-all-errors": "retry-all-errors",
    "retry-max-time=": "retry-max-time",
    "cacert=": "cacert",
    "max-redirs=": "max-redirs",
    "no-progress-meter": "s",
    "progress-bar": "s",
    "compressed": "compressed",
    "http1.1": "http1.1",
    "http1.0": "http1.0",
    "ipv4": "4",
    "no-buffer": "N",
    "url=": "url",
    "dump-header=": "D",
    "upload-file=": "T",
    "noproxy=": "noproxy",
    "no-keepalive": "nk",
    "cookie=": "b",
    "globoff": "g",
    "connect-to=": "connect-to",
    "parallel": "parallel",
    "path-as-is": "path-as-is",
    "version": "V",
    "oauth2-bearer=": "bearer",
}


SHORT_OPTIONS = "sSfiIo:Ow:H:X:d:F:kLm:vu:A:e:G4NgT:D:b:V0j:#q"


def expand_globs(url: str) -> list[str]:
    """Expand curl's own globbing: `[1-10]` and `{a,b}`."""
    if match := re.search(r"\[(\d+)-(\d+)\]", url):
        return [
            more
            for number in range(int(match[1]), int(match[2]) + 1)
            for more in expand_globs(url[: match.start()] + str(number) + url[match.end() :])
        ]
    if match := re.search(r"\{([^{}]*,[^{}]*)\}", url):
        return [
            more
            for word in match[1].split(",")
            for more in expand_globs(url[: match.start()] + word + url[match.end() :])
        ]
    return [url]


async def _form(p: Process, options: Any) -> tuple[bytes, str]:
    """Return the body of `-F name=value`, `-F name=@file;type=…` and its content type."""
    boundary = "------------------------d74496d66958873e"
    body = b""
    for text in (*options.all("F"), *(f"{one}\0" for one in options.all("form-string"))):
        name, _, value = text.partition("=")
        head = f'Content-Disposition: form-data; name="{name}"'
        data = value.rstrip("\0").encode()
        if value.startswith(("@", "<")) and not value.endswith("\0"):
            path, _, more = value[1:].partition(";")
            data = await p.source(path).rest()
            if value[0] == "@":
                kind = more.partition("type=")[2] or "application/octet-stream"
                head += f'; filename="{path.rpartition("/")[2]}"\r\nContent-Type: {kind}'
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


async def request_of(p: Process, options: Any, url: SplitResult) -> Request:
    pieces: list[bytes] = []
    for key in ("d", "data-raw", "data-binary", "data-urlencode", "json"):
        for text in options.all(key):
            if key == "data-urlencode":
                name, equals, value = text.partition("=")
                pieces.append(f"{name}={quote(value, safe='')}".encode() if equals else quote(text, safe="").encode())
            elif text.startswith("@") and key != "data-raw":
                data = await p.source(text[1:]).rest()
                pieces.append(data if key == "data-binary" else data.replace(b"\r", b"").replace(b"\n", b""))
            else:
                pieces.append(text.encode())
    posting = bool(pieces)
    body = b"&".join(pieces)
    kind = "application/json" if "json" in options else "application/x-www-form-urlencoded"
    if "F" in options or "form-string" in options:
        body, kind, posting = *await _form(p, options), True
    if "G" in options and posting:
        query = "&".join(filter(None, (url.query, body.decode())))
        url, body, posting = url._replace(query=query), b"", False
    if "T" in options:
        body = await p.source(options.get("T")).rest()
    method = options.get("X") or (
        "HEAD" if "I" in options else "PUT" if "T" in options else "POST" if posting else "GET"
    )
    headers = [("User-Agent", options.get("A", "curl/8.10.1")), ("Accept", "*/*")]
    if "u" in options or url.username:
        headers.insert(0, ("Authorization", basic_auth(options.get("u") or f"{url.username}:{url.password or ''}")))
    if "bearer" in options:
        headers.append(("Authorization", f"Bearer {options.get('bearer')}"))
    if "e" in options:
        headers.append(("Referer", options.get("e")))
    if "b" in options:
        headers.append(("Cookie", options.get("b")))
    if posting or "T" in options:
        headers.append(("Content-Length", str(len(body))))
    if posting:
        headers.append(("Content-Type", kind))
    for line in options.all("H"):
        key, colon, value = line.partition(":" if ":" in line else ";")
        headers = [(k, v) for k, v in headers if k.lower() != key.strip().lower()]
        if colon and (value.strip() or ";" in line):
            headers.append((key.strip(), value.strip()))
    return Request(url, method, headers, body, "k" in options, options.get("cacert"))


def write_out(template: str, facts: dict[str, Any]) -> str:
    values = {
        "http_code": facts["http_code"],
        "response_code": facts["http_code"],
        "size_download": str(facts["size_download"]),
        "time_total": f"{facts['total']:.6f}",
        "time_connect": f"{facts['connect']:.6f}",
        "time_starttransfer": f"{facts['first']:.6f}",
        "time_namelookup": f"{min(facts['connect'], facts['total']) / 2:.6f}",
        "time_appconnect": "0.000000",
        "remote_ip": facts.get("peer", ""),
        "remote_port": str(facts.get("port", 0)),
        "url_effective": facts["url"],
        "url": facts["url"],
        "num_redirects": str(facts["num_redirects"]),
        "content_type": facts.get("content_type", ""),
        "redirect_url": facts.get("redirect", ""),
        "exitcode": str(facts["exitcode"]),
        "http_version": facts.get("version", "0"),
        "method": facts.get("method", "GET"),
        "scheme": facts.get("scheme", ""),
        "errormsg": "",
    }
    text = template.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
    return re.sub(r"%\{(\w+)\}|%(%)", lambda m: "%" if m[2] else values.get(m[1], ""), text)
