"""The Gateway API: each Gateway becomes pods and a Service of its own, and its routes their routing table.

    compile      one Gateway with all its routes → table, listeners, statuses      listeners, routes, references, table
    agent        makes Deployment and Service, writes the statuses                 provision
    server       the program in a Gateway's pods, on the ingress controllers' proxy
    filters      what a rule's filters do to requests and answers

Only `agent` and `server` act; all else is pure. This module loads none of them: most clusters have no Gateway.
"""
