"""The kubelet: pods of one node as asyncio tasks, with real addresses, probes, restarts and graceful ends.

podstate, podactions             what should happen: a pure machine; its events and commands
container_status, pod_status     what it publishes: container statuses, phase, conditions (pure)
probes, backoff                  when something is due (pure)
environment, volumes, ports,     what a container is given (pure)
  node
pod_worker                       one pod: the machine's shell
  sandbox                          its address, namespace, names, hostPorts
  containers, container_config     its programs, and what they are given
  handlers, prober                 hooks and probes
  volume_manager, mounts           its folders
  status_manager                   its status in the API
provisioner                      the folders of claims, when they go
output, lag                      what code in pods prints; which pod blocks the event loop
usage, processes                 what containers use
agent, node_status, runtime      one node; its registration; logs and exec over all nodes
network                          what it needs of the network below (Protocols)
"""
