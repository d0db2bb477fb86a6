"""Names: what Kubernetes allows, in its own words."""

from collections.abc import Callable, Sequence

import pytest

from minikube_py.apimachinery import names


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (names.dns_label_errors, "a-1"),
        (names.dns_1035_label_errors, "web-1"),
        (names.dns_subdomain_errors, "a.b-c.d"),
        (names.wildcard_subdomain_errors, "*.example.com"),
        (names.qualified_name_errors, "app.kubernetes.io/name"),
        (names.label_value_errors, ""),
        (names.port_name_errors, "http-2"),
        (names.config_key_errors, "nginx.conf"),
        (names.path_segment_errors, "system:node"),
    ],
)
def test_good_names_pass(rule: Callable[[str], Sequence[str]], good: str) -> None:
    """Nothing is said about a good name."""
    assert not rule(good)


@pytest.mark.parametrize(
    ("rule", "bad", "words"),
    [
        (names.dns_label_errors, "My_App", "a lowercase RFC 1123 label must consist of"),
        (names.dns_1035_label_errors, "1web", "a DNS-1035 label must consist of"),
        (names.dns_subdomain_errors, "a..b", "a lowercase RFC 1123 subdomain must consist of"),
        (names.wildcard_subdomain_errors, "*example.com", "a wildcard DNS-1123 subdomain must start with '*.'"),
        (names.qualified_name_errors, "a b", "name part must consist of alphanumeric characters"),
        (names.qualified_name_errors, "/x", "prefix part must be non-empty"),
        (names.label_value_errors, "-x", "a valid label must be an empty string or consist of"),
        (names.port_name_errors, "a-very-long-port-name", "must be no more than 15 bytes"),
        (names.port_name_errors, "8080", "must contain at least one letter (a-z)"),
        (names.config_key_errors, "a/b", "a valid config key must consist of"),
        (names.path_segment_errors, "a/b", "may not contain '/'"),
    ],
)
def test_bad_names_are_explained(rule: Callable[[str], Sequence[str]], bad: str, words: str) -> None:
    """The message is Kubernetes' own."""
    assert any(words in error for error in rule(bad))


def test_the_nearest_name_is_what_was_meant() -> None:
    """A misspelling finds its word; nonsense finds none."""
    assert names.nearest("taragetPort", ["targetPort", "port"]) == "targetPort"
    assert names.nearest("qqq", ["targetPort", "port"]) is None
