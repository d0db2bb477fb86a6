"""ssl-passthrough."""

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.rules.compile import compile_rules

from ..support import ingress, path, sources

ON = {"ssl-passthrough": "true"}


def test_what_the_root_goes_to_takes_the_hosts_tls() -> None:
    """TLS has no paths: those beside `/` are reported; a host without `/` isn't passed through, and that is said."""
    rules = compile_rules(
        sources(
            ingress("i", {"a.test": [path("web", port=443), path("api", "/api")]}, annotations=ON),
            ingress("j", {"b.test": [path("web", "/only")]}, annotations=ON, age=1),
            ingress("k", {"c.test": [path("web")]}, annotations={"ssl-passthrough": "false"}, age=2),
        )
    )
    assert {host: str(backend) for host, backend in rules.passthrough.items()} == {"a.test": "default-web-443"}
    assert [each.reason for each in rules.problems[Key("default", "i")]] == ["PathIgnored"]
    assert {each.reason for each in rules.problems[Key("default", "j")]} == {"PathIgnored", "InvalidAnnotation"}
    assert Key("default", "k") not in rules.problems
