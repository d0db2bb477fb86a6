"""CoreDNS: the cluster's DNS, run as a pod's program.

    agent.py       watches the API               ─► Zone (zone.py), one immutable moment of the cluster
    corefile.py    reads the ConfigMap           ─► plugins/ set up the chain; plugins/__init__ says how to add one
    answer.py      Question + Zone               ─► Answer, as the specification and CoreDNS have it
    message.py     Answer                        ─► bytes after the question
    fastpath.py    finished answers under a structured key; forwarded.py: answers from upstream while their TTLs last
    engine.py      bytes of a query              ─► bytes of a reply, or the wish to ask upstream
    querylog.py, metrics.py                      what was answered, in CoreDNS' formats
    server.py, queries.py, upstreams.py          the sockets: its life and pages, queries, asking others

From outside: `dig @<kube-dns ClusterIP>`, or for the whole machine, with its address and port as `mkpy env` gives them,
    systemd-resolved   resolvectl dns lo 127.96.0.10; resolvectl domain lo '~cluster.local'
    dnsmasq            --server=/cluster.local/127.96.0.10#53
    macOS              /etc/resolver/cluster.local: "nameserver 127.96.0.10" and "port 53"
"""
