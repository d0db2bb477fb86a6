"""The kubelets: pods become running programs with an address."""
