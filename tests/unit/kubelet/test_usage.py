"""CPU by looking who runs, memory in equal parts."""

from minikube_py.kubelet.usage import Sampler

WEB, API = ("default", "web", "c"), ("default", "api", "c")


def test_a_container_has_the_share_of_a_core_in_which_it_was_seen() -> None:
    """Three of four looks are three quarters of a core; ended containers are left out."""
    sampler = Sampler()
    for owner in ("default/web/c", "default/web/c", "", "default/web/c"):
        sampler.observe(owner)
    usage = sampler.usage([WEB, API])
    assert {key: cores for key, (cores, _) in usage.items()} == {WEB: 0.75, API: 0.0}
    assert usage[WEB][1] == usage[API][1] > 1 << 20
    assert sampler.usage([]) == {}


def test_old_looks_are_forgotten() -> None:
    """The window is fifteen seconds: a container that has stopped computing shows none."""
    sampler = Sampler()
    for owner in ["default/web/c"] * 200 + [""] * 150:
        sampler.observe(owner)
    assert sampler.usage([WEB])[WEB][0] == 0.0
