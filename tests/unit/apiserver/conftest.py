"""A real server on a free port, and a client that has its token."""

import io
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer


@dataclass
class Answer:
    status: int
    headers: Any
    raw: bytes
    json: Any = None


@dataclass
class Client:
    """HTTP requests to one server, as its administrator unless told otherwise."""

    server: APIServer
    session: aiohttp.ClientSession
    api: Operations = field(init=False)

    def __post_init__(self) -> None:
        self.api = self.server.operations

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        token = self.server.credentials.token if token is None else token
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        options: dict[str, Any] = {}
        if body is not None:
            options = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body}
        async with self.session.request(method, self.server.url + path, headers=sent, **options) as response:
            raw = await response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return Answer(response.status, response.headers, raw, await response.json() if is_json and raw else None)


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    return Credentials.create("127.96.0.1")


@pytest.fixture
async def server(credentials: Credentials) -> AsyncIterator[APIServer]:
    clock = LoopClock()
    server = APIServer(Operations(clock, seed=1), clock=clock, port=0, credentials=credentials)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: APIServer) -> AsyncIterator[Client]:
    context: ssl.SSLContext = server.credentials.client_context()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as session:
        yield Client(server, session)
