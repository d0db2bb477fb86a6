"""registry.k8s.io/pause: does nothing until it is told to end."""

from minikube_py.images.container import Container

__all__ = ["IMAGES", "main"]

IMAGES = ("registry.k8s.io/pause", "k8s.gcr.io/pause", "*/pause", "pause", "*/pause-amd64")


async def main(container: Container) -> int:
    container.started()
    await container.terminated.wait()
    container.print("Shutting down, got signal: Terminated")
    return 0
