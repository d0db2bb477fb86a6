"""The ingress controller: hosts and paths become backends. Stands for ingress-nginx.

    router     which Location answers (pure)          compile    objects → RoutingTable (pure)
    classes    which Ingresses are ours (pure)        backends   Service and port → endpoints (pure)
    options    settings, filters, phases              annotations/   one annotation = one file; the guide is there
    caller     one connection: simple requests        forwarding heads on their way through (pure)
    front      aiohttp takes all other requests       proxy      what all requests share
    exchange   one request, streamed both ways: sending, relaying, tunnel (upgrades), subrequests
    inbound    a request by any HTTP: inbound1, 2     outbound   its way to a pod: pool (HTTP/1.1), pool2 (gRPC)
    callers2   a caller's HTTP/2 connection           http1, http2   what may be said in them (pure)
    passthrough  TLS by name: passed on, or ended     sni        the name in a ClientHello (pure)
    tls        certificates by SNI                    server     `program()`: what runs in the controller's pod
    agent      status and Events                      health     /healthz and /metrics
    flavors/   the other controllers; one = one file  explain    the walk of a URL, in words (pure)
    resources/ those controllers' own kinds           gateway    the Gateway API: compile, table, agent, server, filters

Left out: HTTP/3, WebSocket over HTTP/2, Lua and configuration snippets.
"""
