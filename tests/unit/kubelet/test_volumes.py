"""What volumes hold, and how it gets to disk."""

import os
from pathlib import Path
from typing import Any

import pytest

from minikube_py.kubelet.environment import ConfigError
from minikube_py.kubelet.mounts import PodFolders
from minikube_py.kubelet.volumes import File, Place, Volume, volume

OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("configmaps", "conf"): {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}},
    ("secrets", "key"): {"data": {"a": "b25l"}},
    ("persistentvolumeclaims", "bound"): {"metadata": {"namespace": "shop"}, "spec": {"volumeName": "pv-1"}},
    ("persistentvolumeclaims", "made"): {"metadata": {"namespace": "shop"}, "spec": {"volumeName": "pv-2"}},
    ("persistentvolumeclaims", "free"): {"metadata": {"namespace": "shop"}, "spec": {}},
    ("persistentvolumes", "pv-1"): {
        "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "x"}},
        "spec": {"hostPath": {"path": "/tmp/x"}},
    },
    ("persistentvolumes", "pv-2"): {"metadata": {}, "spec": {"local": {"path": "/mnt/disk"}}},
}


def made(**spec: Any) -> Volume:
    return volume({"name": "v", **spec}, "web-0", lookup=lambda *key: OBJECTS.get(key), text=lambda item: "field")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"configMap": {"name": "no"}}, 'configmap "no" not found', id="ConfigMap"),
        pytest.param({"secret": {"secretName": "no"}}, 'secret "no" not found', id="Secret"),
        pytest.param(
            {"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}},
            "configmap references non-existent config key: z",
            id="ConfigMap's key",
        ),
        pytest.param(
            {"secret": {"secretName": "key", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
            id="Secret's key",
        ),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "free"}},
            "error processing PVC shop/free: PVC is not bound",
            id="unbound claim",
        ),
    ],
)
def test_what_is_missing(spec: dict[str, Any], message: str) -> None:
    """The kubelet's words; nothing is missing that is optional."""
    with pytest.raises(ConfigError) as missing:
        made(**spec)
    assert str(missing.value) == message
    for source in (source for source in spec.values() if "claimName" not in source):
        source["optional"] = True
        assert made(**spec).files == {}


def test_modes() -> None:
    """An item's mode, else the volume's, else 0644; 0 is a mode."""
    items = [{"key": "a", "path": "x/a", "mode": 0}, {"key": "b", "path": "b"}]
    files = made(projected={"defaultMode": 0o440, "sources": [{"configMap": {"name": "conf", "items": items}}]}).files
    assert files == {"x/a": File(b"1", 0), "b": File(b"2", 0o440)}
    assert made(configMap={"name": "conf"}).files == {
        "a": File(b"1", 0o644),
        "b": File(b"2", 0o644),
        "c": File(b"\x00\x01", 0o644),
    }


def test_claims() -> None:
    """A claim's folder is its volume's: a new volume is a new folder; a hand-made one is a path of the node's."""
    assert made(persistentVolumeClaim={"claimName": "bound"}) == Volume(Place.CLAIM, "pv-1")
    assert made(persistentVolumeClaim={"claimName": "made"}) == Volume(Place.HOST, "/mnt/disk")


def test_files_change_all_at_once(tmp_path: Path) -> None:
    """Files are links through ..data; a change swaps it, removes gone keys and leaves no old folder."""
    folders = PodFolders(lambda: tmp_path, uid="u", node="worker")
    container = {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    folders.put("v", Volume(files={"a": File(b"1", 0o400), "d/e": File(b"2", 0o755)}))
    shown = folders.mounted(container, {})["/v"]
    first = os.readlink(shown / "..data")
    assert (shown / "d" / "e").read_text() == "2"
    assert [os.stat(shown / name).st_mode & 0o777 for name in ("a", "d/e")] == [0o400, 0o755]
    folders.put("v", Volume(files={"a": File(b"1", 0o400), "d/e": File(b"2", 0o755)}))
    assert os.readlink(shown / "..data") == first  # nothing has changed
    folders.put("v", Volume(files={"a": File(b"3", 0o400), "f": File(b"4", 0o400)}))
    now = os.readlink(shown / "..data")
    assert sorted(os.listdir(shown)) == sorted([now, "..data", "a", "f"])
    assert (shown / "a").read_text() == "3"
    folders.remove()
    assert os.listdir(tmp_path / "pods") == []


def test_no_file_leaves_its_volume(tmp_path: Path) -> None:
    """A path that leads upwards is left out, as the API server would refuse it."""
    folders = PodFolders(lambda: tmp_path, uid="u", node="worker")
    outside = {"../../evil": File(b"", 0o644), f"{tmp_path}/evil": File(b"", 0o644)}
    folders.put("v", Volume(files={**outside, "good": File(b"", 0o644)}))
    assert not list(tmp_path.rglob("evil"))
    assert [path.name for path in tmp_path.rglob("good")] == ["good", "good"]


def test_a_sub_path_is_what_it_was_at_the_start(tmp_path: Path) -> None:
    """Of a volume that the API feeds it is a copy, made anew for each start; of others it is the folder itself."""
    folders = PodFolders(lambda: tmp_path, uid="u", node="worker")
    mounts = [{"name": "v", "mountPath": "/a", "subPath": "a"}, {"name": "e", "mountPath": "/e", "subPathExpr": "$(N)"}]
    container = {"name": "c", "volumeMounts": mounts}
    folders.put("e", Volume())
    folders.put("v", Volume(files={"a": File(b"1", 0o444)}))
    mounted = folders.mounted(container, {"N": "web"})
    assert mounted["/e"].is_dir()
    assert mounted["/e"].name == "web"
    folders.put("v", Volume(files={"a": File(b"2", 0o444)}))
    assert mounted["/a"].read_text() == "1"
    assert folders.mounted(container, {"N": "web"})["/a"].read_text() == "2"
