"""What runs when a container starts: one image = one file.

To add an image, write `images/<name>.py` with two names and list the module in `images/catalog.py`:

    IMAGES = ("hashicorp/http-echo",)          # repository patterns, any tag; fnmatch wildcards allowed

    async def main(container: Container) -> int | None:
        ...                                    # ordinary asyncio code, run as the pod: its address, names, policies
        container.started()                    # ports are open: from here on the container is Running
        await container.terminated.wait()      # SIGTERM; return within the grace period, or be cancelled
        return 0                               # the exit code; raising is exit code 1 with the error in the log

`asyncio.get_running_loop().create_server`, `asyncio.start_server`, aiohttp's sites and
`create_datagram_endpoint` bind the pod's own address by themselves (`cni.podloop`).
"""
