"""What callers send cannot leave its place in the access log, nor reach the terminal that shows it."""

import pytest

from minikube_py.ingress.proxy.accesslog import Record, line


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("curl/8", "curl/8"),
        ('a "b" \\', "a \\x22b\\x22 \\x5C"),
        ("\x1b[31m\x7f\r\n", "\\x1B[31m\\x7F\\x0D\\x0A"),
        ("Zoë", "Zo\\xC3\\xAB"),
        ("\udc9b31m\udcff", "\\x9B31m\\xFF"),
        ("\u202e", "\\xE2\\x80\\xAE"),
        ("", "-"),
    ],
    ids=["text", "quotes", "control characters", "letters", "bytes that are no text", "right to left", "nothing"],
)
def test_octets_outside_of_ascii_are_escaped(sent: str, written: str) -> None:
    """As nginx's log_escape does: what is below 32 or above 126."""
    assert f'"{written}"' in line(Record("127.0.0.1", "GET / HTTP/1.1", agent=sent), 0.0)
