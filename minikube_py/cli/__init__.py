"""mkpy: the command line."""
