"""The kubelet: pods of one node as asyncio tasks, with real addresses, probes, restarts and graceful ends.

podstate, probes, backoff      what should happen (pure)
environment, volumes, ports,   what a container is given (pure)
  node
worker, prober, mounts         one pod: tasks, sockets, folders
agent, runtime                 one node; logs and exec over all nodes
"""
