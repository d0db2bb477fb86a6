"""Handles on a cluster, for tests and scripts."""
