"""Manifests: Go's YAML, many documents, lines of fields, all problems at once."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery import manifests
from minikube_py.apimachinery.manifests import ManifestError, Report, load, parse

SHOP = """\
# the shop
apiVersion: v1
kind: Service
metadata:
  name: shop
  labels: {app.kubernetes.io/name: shop}
spec:
  ports:
  - port: 80
    targetPort: http
---

---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a}}
- apiVersion: v1
  kind: Pod
  metadata:
    name: b
"""


def test_documents_and_lists_become_objects_with_lines() -> None:
    """Empty documents are nothing; `kind: List` is what it contains."""
    found = parse(SHOP, "shop.yaml")
    assert [m.object["metadata"]["name"] for m in found] == ["shop", "a", "b"]
    assert [m.line for m in found] == [2, 17, 18]
    assert found[0].line_of("spec.ports[0].targetPort") == 10
    assert found[0].line_of("metadata.labels.app.kubernetes.io/name") == 6
    assert found[0].line_of("metadata.labels[app.kubernetes.io/name]") == 6
    assert found[0].line_of("spec.ports[0].missing") == 9
    assert found[2].line_of("metadata.name") == 21


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("on", True),
        ("y", True),
        ("Off", False),
        ("NO", False),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("08", 8),
        ("1.0", 1),
        ("1.5", 1.5),
        ("1e3", 1000),
        (".5", 0.5),
        ("2001-12-14", "2001-12-14"),
        ("12:30:45", "12:30:45"),
        ("~", None),
        ('"yes"', "yes"),
        ("!!str 12", "12"),
        ("1.2.3", "1.2.3"),
        ("0b11", 3),
        ("-7", -7),
        ("99999999999999999999", 1e20),
        ("127.0.0.1", "127.0.0.1"),
        ("100m", "100m"),
    ],
)
def test_scalars_are_read_as_go_reads_them(text: str, value: Any) -> None:
    """YAML 1.1 with Go's ideas of it: that is what reaches a real API server."""
    [manifest] = parse(f"v: {text}")
    assert manifest.object["v"] == value
    assert type(manifest.object["v"]) is type(value)


def test_keys_become_text() -> None:
    """JSON has no other keys."""
    [manifest] = parse("{1: a, on: b, null: c}")
    assert manifest.object == {"1": "a", "true": "b", "null": "c"}


def test_anchors_and_merge_keys_work() -> None:
    """An explicit key wins over a merged one."""
    [manifest] = parse("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3\n")
    assert manifest.object["b"] == {"k": 3, "l": 2}
    assert manifest.line_of("b.l") == 1


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Nothing starts half, and nobody corrects one line at a time."""
    (tmp_path / "a.yaml").write_text("a: 1\nb:\n  c: 1\n  c: 2\n---\nx: [1\n---\n- list\n")
    (tmp_path / "b.yml").write_text("a:\n\t- b\n")
    with pytest.raises(ManifestError) as caught:
        load([str(tmp_path), str(tmp_path / "missing.yaml")])
    text = str(caught.value)
    assert 'a.yaml:4: key "c" already set in map (first on line 3); keep one of them' in text
    assert "a.yaml:8: a Kubernetes object is a mapping with apiVersion and kind, this is a list" in text
    assert "YAML is indented with spaces" in text
    assert 'missing.yaml" does not exist' in text
    assert len(caught.value.problems) == 5


def test_folders_are_read_in_order_and_not_descended_into(tmp_path: Path) -> None:
    """As `kubectl -f DIR` does."""
    (tmp_path / "b.yaml").write_text("kind: B")
    (tmp_path / "a.json").write_text('{"kind": "A"}')
    (tmp_path / "c.txt").write_text("kind: C")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.yaml").write_text("kind: D")
    assert [m.object["kind"] for m in load([str(tmp_path)])] == ["A", "B"]


def test_stdin_is_a_file_like_any_other() -> None:
    """`-` reads it."""
    [manifest] = load(["-"], stdin=io.StringIO("kind: Pod"))
    assert (manifest.object, manifest.file) == ({"kind": "Pod"}, "-")


def test_json_keeps_its_lines_and_tells_duplicates() -> None:
    """A tab is no hindrance in JSON."""
    [manifest] = parse('{"apiVersion": "v1",\n\t"kind": "Pod"}')
    assert manifest.line_of("kind") == 2
    with pytest.raises(ManifestError, match='key "a" already set'):
        parse('{"a": 1,\n "a": 2}')


def test_a_bomb_of_aliases_is_refused() -> None:
    """As Go's reader refuses it."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ManifestError, match="excessive aliasing"):
        parse("\n".join(lines))


@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("form", ["yaml", "json", "sequences"])
def test_what_is_nested_too_deeply_is_refused(form: str, depth: int) -> None:
    """As a mistake of the file, not one of ours: later code walks down by recursion."""
    lists = "- " * depth if form == "sequences" else "[" * depth + "]" * depth
    with pytest.raises(ManifestError, match="-:1: is nested more than 200 deep"):
        parse(f'{{"v": {lists}}}' if form == "json" else f"v:\n {lists}")


def test_blank_lines_between_comments_cost_nothing() -> None:
    """A long foreword is passed over; looking for its end once took twice as long with each line."""
    [manifest] = parse("# foreword\n\n" * 500 + "kind: Pod\n")
    assert manifest.line == 1001
    assert parse("# only\n\n" * 500 + "---\n\n") == []


@pytest.mark.parametrize("text", ["name: {{ .Values.name }}", "{{- if .Values.on }}\nkind: Pod\n{{- end }}"])
def test_templates_are_told_to_be_rendered(text: str) -> None:
    """Charts are no manifests yet."""
    with pytest.raises(ManifestError, match="helm template CHART"):
        parse(text)


def test_an_empty_list_holds_nothing() -> None:
    """Whether it has no items or none in them."""
    assert parse("apiVersion: v1\nkind: List\n---\napiVersion: v1\nkind: List\nitems: []\n") == []


def test_a_report_has_no_truth_value() -> None:
    """Whether warnings count is the caller's decision."""
    with pytest.raises(TypeError):
        bool(Report())


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything but manifests or a ManifestError."""
    with suppress(ManifestError):
        parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_reads_back(value: Any) -> None:
    """What is JSON is read as JSON."""
    import json

    [manifest] = parse(json.dumps({"v": value}))
    assert manifest.object == {"v": value}


def test_urls_are_not_fetched() -> None:
    """The message says how to go on."""
    with pytest.raises(ManifestError, match="curl -fsSL"):
        manifests.load(["https://example.com/x.yaml"])
