"""custom-headers."""

import pytest

from ..support import World, answered, call, config_map, draft, echo


def test_headers_of_a_config_map() -> None:
    """They replace the backend's."""
    made = draft(custom_headers="default/sent", extra=[config_map("sent", X_Mine="1")])
    assert answered(made, call(), ("x-mine", "theirs"), ("X-Other", "2")) == [("X-Other", "2"), ("X-Mine", "1")]


def test_what_is_no_header_is_a_problem() -> None:
    """Neither a name with a space nor a value with a line break."""
    made = draft(custom_headers="default/sent", extra=[config_map("sent", **{"a b": "1", "c": "x\r\ny: z"})])
    assert len(made.problems) == 2
    assert not answered(made, call())


@pytest.mark.usefixtures("both_ways")
async def test_over_sockets(running: World) -> None:
    """A header for every answer of the Ingress."""
    running.create(config_map("sent", X_Mine="1"))
    running.serve("web", await running.pod(echo), custom_headers="default/sent")
    assert (await running.get())[1]["x-mine"] == "1"
