"""Objects become a `RoutingTable`. Pure.

sources    the objects, indexed as they come from a watch     classes       which Ingresses are ours
compile    Ingresses merged, oldest first                     incremental   again, but only those that a change concerns
backends   Service and port → endpoints; rules → table        rules         what Ingresses come to
"""
