"""The folder's own rules: one annotation, one file, one test file; each is listed; what nobody knows is named."""

from pathlib import Path

import pytest

import minikube_py.ingress.annotations as folder
from minikube_py.ingress.annotations import known
from minikube_py.ingress.options import DEFAULTS

from ..support import draft

FILES = {each.stem for each in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}


def test_every_file_is_listed_and_tested() -> None:
    """Each annotation file is read, and has its test file beside this one."""
    assert FILES - {"draft"} == set(folder._MODULES)
    assert {each.stem.removeprefix("test_") for each in Path(__file__).parent.glob("test_*.py")} - {"folder"} == FILES


def test_no_annotation_is_read_twice() -> None:
    """Each name belongs to one file."""
    names = [name for names, _ in folder._readers() for name in names]
    assert len(names) == len(set(names)) == len(known())


def test_no_annotation_leaves_the_defaults() -> None:
    """An Ingress without annotations shares one settings object: the fast path."""
    assert draft().options() is DEFAULTS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("rewrite-tarjet", "did you mean nginx.ingress.kubernetes.io/rewrite-target?", id="typo"),
        pytest.param("zzzzz", "is not known to this controller and has no effect", id="nothing like it"),
    ],
)
def test_unknown_annotations_draw_a_warning(name: str, words: str) -> None:
    """What nobody knows is named, with the nearest name that is known."""
    (message,) = draft(**{name: "x"}).unknown
    assert words in message
