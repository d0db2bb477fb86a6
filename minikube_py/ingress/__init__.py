"""The ingress controller: hosts and paths become backends. Stands for ingress-nginx.

    server     the program in the controller's pod: watches, listens, swaps routing tables
    agent      what is written back: addresses in status, Events
    front      one listener: whose protocol a caller speaks, and who serves it
    router     which Location answers a request (pure): the core
    options    settings, filters and their phases (pure); `urls`, `htpasswd` serve them
    explain    the walk of a URL, in words (pure)
    health     /healthz and /metrics

    rules/     objects → RoutingTable (pure)             annotations/     ingress-nginx's; one = one file
    proxy/     one request, by whatever HTTP             flavors/         the other controllers; one = one file
    http1/     callers and pods that speak HTTP/1.1      resources/       those controllers' own kinds
    http2/     callers and pods that speak HTTP/2        gateway/         the Gateway API
    tls/       certificates, server names, passthrough

Left out: HTTP/3, WebSocket over HTTP/2, Lua and configuration snippets.
"""
