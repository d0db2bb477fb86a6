"""Annotations that ingress-nginx documents and that change nothing here; each draws a warning that says why.

Also those that can't be emulated at all: their warning says so, and what they would have protected is open.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

PHASE = Phase.SERVER

_STREAMED = "bodies are streamed here, without buffers or files"
_TRACES = "nothing is traced here"
_CIPHERS = "the ciphers are those of this machine's OpenSSL"
_CACHE = "every request is asked for anew here"
_REMOVED = "ingress-nginx 1.12 has removed it"
_CLIENT_CERTIFICATES = "client certificates are not asked for here: callers without one get in"
_BACKEND_CERTIFICATES = "backends' certificates are not verified here and none is shown to them"
_SNIPPET = (
    "snippet directives are disabled (allow-snippet-annotations is false by default): "
    "ingress-nginx's webhook would deny this Ingress; here the snippet is ignored"
)
_WHY = {
    "proxy-buffering": _STREAMED,
    "proxy-buffer-size": _STREAMED,
    "proxy-buffers-number": _STREAMED,
    "proxy-busy-buffers-size": _STREAMED,
    "proxy-request-buffering": _STREAMED,
    "proxy-max-temp-file-size": _STREAMED,
    "client-body-buffer-size": _STREAMED,
    "limit-rate": "answers are sent as fast as the caller takes them",
    "limit-rate-after": "answers are sent as fast as the caller takes them",
    "proxy-http-version": "backends are always asked with HTTP/1.1",
    "connection-proxy-header": "connections to backends are always kept alive",
    "enable-access-log": "every request is logged",
    "enable-rewrite-log": "rewrites are not logged",
    "http2-push-preload": "ingress-nginx 1.12 has no HTTP/2 push either",
    "use-port-in-redirects": "a redirect names a port if the caller did",
    "disable-proxy-intercept-errors": "only custom-http-errors replaces answers here",
    "enable-global-auth": "there is no global-auth-url to be exempt from",
    "auth-cache-key": _CACHE,
    "auth-cache-duration": _CACHE,
    "auth-keepalive": _CACHE,
    "auth-keepalive-requests": _CACHE,
    "auth-keepalive-share-vars": _CACHE,
    "auth-keepalive-timeout": _CACHE,
    "auth-always-set-cookie": "the authentication service's cookies are set on no answer",
    "ssl-ciphers": _CIPHERS,
    "ssl-prefer-server-ciphers": _CIPHERS,
    "enable-opentelemetry": _TRACES,
    "opentelemetry-trust-incoming-span": _TRACES,
    "opentelemetry-operation-name": _TRACES,
    "enable-opentracing": _REMOVED,
    "opentracing-trust-incoming-span": _REMOVED,
    "enable-influxdb": _REMOVED,
    "influxdb-measurement": _REMOVED,
    "influxdb-port": _REMOVED,
    "influxdb-host": _REMOVED,
    "influxdb-server-name": _REMOVED,
    "global-rate-limit": _REMOVED,
    "global-rate-limit-window": _REMOVED,
    "global-rate-limit-key": _REMOVED,
    "global-rate-limit-ignored-cidrs": _REMOVED,
    "secure-backends": "backend-protocol has taken its place",
    "add-base-url": "sub_filter has no equal here",
    "base-url-scheme": "sub_filter has no equal here",
    "enable-modsecurity": "there is no web application firewall here",
    "enable-owasp-core-rules": "there is no web application firewall here",
    "modsecurity-transaction-id": "there is no web application firewall here",
    "fastcgi-index": "FastCGI is not spoken here",
    "fastcgi-params-configmap": "FastCGI is not spoken here",
    "auth-tls-secret": _CLIENT_CERTIFICATES,
    "auth-tls-verify-client": _CLIENT_CERTIFICATES,
    "auth-tls-verify-depth": _CLIENT_CERTIFICATES,
    "auth-tls-error-page": _CLIENT_CERTIFICATES,
    "auth-tls-match-cn": _CLIENT_CERTIFICATES,
    "auth-tls-pass-certificate-to-upstream": _CLIENT_CERTIFICATES,
    "proxy-ssl-secret": _BACKEND_CERTIFICATES,
    "proxy-ssl-verify": _BACKEND_CERTIFICATES,
    "proxy-ssl-verify-depth": _BACKEND_CERTIFICATES,
    "proxy-ssl-ciphers": _BACKEND_CERTIFICATES,
    "proxy-ssl-protocols": _BACKEND_CERTIFICATES,
    "proxy-ssl-name": _BACKEND_CERTIFICATES,
    "proxy-ssl-server-name": _BACKEND_CERTIFICATES,
    **dict.fromkeys(
        ("configuration-snippet", "server-snippet", "stream-snippet", "auth-snippet", "modsecurity-snippet"), _SNIPPET
    ),
}
NAMES = tuple(_WHY)


def apply(draft: Draft) -> None:
    for name in draft.values:
        if why := _WHY.get(name):
            draft.unknown.append(f"{draft.prefix}{name} has no effect here: {why}")
