"""CPU by looking who runs, memory in equal parts."""

import pytest

from minikube_py.kubelet.usage import RequestRates, Sampler

WEB, API = ("default", "web", "c"), ("default", "api", "c")


def test_a_container_has_the_share_of_a_core_in_which_it_was_seen() -> None:
    """Three of four looks are three quarters of a core; ended containers are left out."""
    sampler = Sampler()
    for owner in ("default/web/c", "default/web/c", "", "default/web/c") * 25:
        sampler.observe(owner)
    usage = sampler.usage([WEB, API])
    assert {key: cores for key, (cores, _) in usage.items()} == {WEB: 0.75, API: 0.0}
    assert usage[WEB][1] == usage[API][1] > 1 << 20
    assert sampler.usage([]) == {}


def test_a_few_looks_say_little() -> None:
    """One hit in three looks, right after the start, is no third of a core."""
    sampler = Sampler()
    for owner in ("", "default/web/c", ""):
        sampler.observe(owner)
    assert sampler.usage([WEB])[WEB][0] == 0.02


def test_old_looks_are_forgotten() -> None:
    """The window is fifteen seconds: a container that has stopped computing shows none."""
    sampler = Sampler()
    for owner in ["default/web/c"] * 200 + [""] * 150:
        sampler.observe(owner)
    assert sampler.usage([WEB])[WEB][0] == 0.0


def test_a_request_rate_is_that_of_the_last_window() -> None:
    """Nothing after one reading; then the counter's growth per second, over 15 to 30 s; a new counter begins anew."""
    rates = RequestRates()
    assert rates.rate("a", 100, 0.0) is None
    assert rates.rate("a", 100, 0.5) is None
    assert rates.rate("a", 250, 15.0) == 10.0
    assert rates.rate("a", 270, 20.0) == pytest.approx(170 / 19.5)
    assert rates.rate("a", 270, 45.0) == 0.0
    assert rates.rate("a", 5, 60.0) is None
    assert rates.rate("a", 35, 75.0) == 2.0
