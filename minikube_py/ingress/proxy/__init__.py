"""One request, by whatever HTTP: routed, filtered, sent to a pod, and its answer.

proxy        what all requests of a controller share: pools, balancer, counters
exchange     one request ─► sending ─► a pod ─► relaying, or tunnel (upgrades);   subrequests: those of our own
inbound      a request as an exchange sees it            outbound     its way to a pod, likewise (Protocols)
balancer     which endpoint is next (pure)               forwarding   heads on their way through (pure)
pages        what the controller answers itself (pure)   accesslog    its lines (pure)
awaited      an answer that is waited for: what both pools share
"""
