"""What all tests share; clusters come from the product's own pytest plugin and from nothing else."""
