"""The ingress controller: hosts and paths become backends. Stands for ingress-nginx.

    router     which Location answers (pure)          compile    objects → RoutingTable (pure)
    classes    which Ingresses are ours (pure)        backends   Service and port → endpoints (pure)
    options    settings, filters, phases              annotations/   one annotation = one file; the guide is there
    caller     one connection: simple requests        forwarding heads on their way through (pure)
    front      aiohttp takes all other requests       proxy      one request, streamed both ways
    pool       connections to pods                    http1      their answers, parsed (pure)
    tls        certificates by SNI                    server     `program()`: what runs in the controller's pod
    agent      status and Events                      health     /healthz and /metrics
    flavors/   the other controllers; one = one file  explain    the walk of a URL, in words (pure)
    gateway    the Gateway API: compile, table, agent, server, filters

Left out: gRPC and HTTP/2, TLS passthrough, Lua and configuration snippets.
"""
