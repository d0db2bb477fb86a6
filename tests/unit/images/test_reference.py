"""Image references and patterns."""

import pytest

from minikube_py.images.reference import Reference, picks


@pytest.mark.parametrize(
    ("image", "repository", "canonical"),
    [
        pytest.param("nginx", "nginx", "docker.io/library/nginx:latest", id="short name"),
        pytest.param("docker.io/library/nginx:1.25", "nginx", "docker.io/library/nginx:1.25", id="full name"),
        pytest.param("traefik/whoami", "traefik/whoami", "docker.io/traefik/whoami:latest", id="user's repository"),
        pytest.param("localhost:5000/a/b:2", "localhost:5000/a/b", "localhost:5000/a/b:2", id="registry with a port"),
        pytest.param("nginx:1.25@sha256:ab", "nginx", "docker.io/library/nginx@sha256:ab", id="tag and digest"),
    ],
)
def test_reference(image: str, repository: str, canonical: str) -> None:
    """A reference is known by its familiar name and shown by its full one."""
    parsed = Reference.parse(image)
    assert (parsed.repository, parsed.canonical) == (repository, canonical)


@pytest.mark.parametrize(
    ("pattern", "image", "expected"),
    [
        pytest.param("nginx", "docker.io/library/nginx:1.25@sha256:ab", True, id="no tag picks all"),
        pytest.param("nginx:1.*", "nginx:1.25", True, id="wildcard tag"),
        pytest.param("nginx:1.*", "nginx:2.0", False, id="other tag"),
        pytest.param("ghcr.io/acme/*", "ghcr.io/acme/api:7", True, id="wildcard repository"),
        pytest.param("ghcr.io/acme/api:*", "ghcr.io/acme/api", True, id="latest is a tag"),
        pytest.param("api", "ghcr.io/acme/api", False, id="a name is not its suffix"),
        pytest.param("localhost:5000/api", "localhost:5000/api:3", True, id="a port is no tag"),
    ],
)
def test_picks(pattern: str, image: str, expected: bool) -> None:
    """A pattern picks what it says, any tag if it names none."""
    assert picks(pattern, image) is expected
