"""proxy-next-upstream and its tries."""

import pytest

from ..support import World, draft, named


@pytest.mark.parametrize(
    ("annotations", "conditions", "tries"),
    [
        pytest.param({}, {"error", "timeout"}, 3, id="by default"),
        pytest.param({"proxy_next_upstream": "off"}, set(), 3, id="off"),
        pytest.param({"proxy_next_upstream": "error non_idempotent"}, {"error", "non_idempotent"}, 3, id="listed"),
        pytest.param({"proxy_next_upstream_tries": "5"}, {"error", "timeout"}, 5, id="tries"),
        pytest.param({"proxy_next_upstream_tries": "0"}, {"error", "timeout"}, 1000, id="as often as there are pods"),
    ],
)
def test_settings(annotations: dict[str, str], conditions: set[str], tries: int) -> None:
    """When and how often."""
    options = draft(**annotations).options()
    assert (options.next_upstream, options.tries) == (conditions, tries)


def test_conditions_without_effect_are_named() -> None:
    """An answer with a status is an answer."""
    assert "http_502 has no effect here" in draft(proxy_next_upstream="error http_502").problems[0]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("conditions", "statuses"), [("error", [200, 200]), ("off", [200, 502])])
async def test_over_sockets(running: World, conditions: str, statuses: list[int]) -> None:
    """A pod where nobody listens is passed over, or not."""
    dead = running.address()
    running.serve("web", dead, await running.pod(named("alive")), proxy_next_upstream=conditions)
    assert sorted([(await running.get())[0], (await running.get())[0]]) == statuses
