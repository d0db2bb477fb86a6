"""The composition root: one cluster, its parts introduced to each other and started in one literal order."""
