"""The cluster's network on the loopback interface: addresses, and the only place that opens pod and service sockets.

Stands for a CNI plugin, its IPAM and the kernel's routing. What a pod's code opens comes from the pod's own address.
"""
