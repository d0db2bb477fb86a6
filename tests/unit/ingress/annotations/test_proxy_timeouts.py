"""proxy-connect-timeout, proxy-read-timeout, proxy-send-timeout."""

from ..support import draft


def test_units() -> None:
    """Seconds, with or without nginx's unit; zero is no timeout that one could mean."""
    options = draft(proxy_connect_timeout="2", proxy_read_timeout="3600", proxy_send_timeout="7s").options()
    assert (options.connect_timeout, options.read_timeout, options.send_timeout) == (2, 3600, 7)
    assert draft(proxy_read_timeout="0").options().read_timeout == 60
