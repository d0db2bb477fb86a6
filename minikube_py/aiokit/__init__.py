"""asyncio building blocks that know no Kubernetes: owned tasks, clocks, streams."""
