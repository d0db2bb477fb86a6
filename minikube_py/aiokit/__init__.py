"""asyncio building blocks that know no Kubernetes: owned tasks, clocks, logs of lines, a watchdog, a certificate."""
