"""kube-proxy: Services become listening addresses; connections are handed to endpoints at accept time.

table.py        Service + EndpointSlices + Nodes → which addresses, which endpoints for whom (pure)
balancer.py     which endpoint next (pure but for its own memory); a new mode is one more `case` in `Balancer._choose`
books.py        what went to which endpoint
mute.py         endpoints on which nobody listens yet
healthcheck.py  what a node answers on a healthCheckNodePort
server.py       keeps listeners and the table in step with the API
"""
