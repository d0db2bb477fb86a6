"""The cluster's network on the loopback interface: addresses, and the only place that opens pod and service sockets.

Stands for a CNI plugin, its IPAM and the kernel's routing. What a pod's code opens comes from the pod's own address.

    types, addresses, ipam        values and pure cores
    fabric                        the whole network of a cluster: pods' namespaces, virtual addresses, the Gate
    namespace, server, live       one pod: its names and sockets, its listening ports, its connections
    udp_endpoint                  its datagram sockets
    listener, held, splice, udp   a Service's address: hand-off, denied callers, backends elsewhere, datagrams
    filters, drop, cbpf           who is dropped by the kernel, before any handshake
    podloop, blocking             how a pod's unmodified code gets all that: asyncio and blocking
    accept, datagrams, mmsg,      what the kernel offers: connections, datagrams by the batch,
      tcpinfo, sockdiag, limits   what it knows of them and admits
    resolver, resolvconf, dns*    a pod's libc resolver
"""
