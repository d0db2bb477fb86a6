"""kube-proxy: Services become listening addresses; connections are handed to endpoints at accept time."""
