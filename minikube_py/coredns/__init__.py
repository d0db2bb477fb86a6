"""CoreDNS with its kubernetes plugin: the zone cluster.local."""
