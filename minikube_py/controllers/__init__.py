"""kube-controller-manager: one controller = one file."""
