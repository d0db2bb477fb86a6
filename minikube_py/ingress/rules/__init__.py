"""Objects become a `RoutingTable`. Pure.

sources    the objects, indexed as they come from a watch        classes    which Ingresses are ours
compile    Ingresses → rules → table                             backends   Service and port → endpoints
"""
