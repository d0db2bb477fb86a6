"""The ingress controller: hosts and paths become backends."""
