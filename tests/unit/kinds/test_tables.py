"""Cells of tables."""

import pytest

from minikube_py.kinds.tables import human_duration, label_selector_cell, listed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (400 * 86400, "400d"),
        (2 * 365 * 86400, "2y"),
        ((2 * 365 + 3) * 86400, "2y3d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_durations_read_as_kubectls(seconds: float, text: str) -> None:
    """Two units at most, the smaller one only while it matters."""
    assert human_duration(seconds) == text


def test_long_lists_are_cut() -> None:
    """And say how much is missing."""
    assert listed(["a", "b", "c", "d"], limit=3) == "a,b,c + 1 more..."
    assert listed([]) == "<none>"


def test_selectors_are_shown_in_kubectls_syntax() -> None:
    """Sets in parentheses."""
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["b", "a"]},
            {"key": "x", "operator": "DoesNotExist"},
        ],
    }
    assert label_selector_cell(selector) == "app=web,tier notin (a,b),!x"
    assert label_selector_cell({}) == "<none>"
