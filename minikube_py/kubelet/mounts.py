"""Volumes on this machine's disk, under the cluster's state folder, made only for pods that mount one.

<state>/pods/<pod uid>/volumes/<name>/…     emptyDir, configMap, secret, downwardAPI, projected
<state>/pods/<pod uid>/etc/hosts            written when somebody looks
<state>/claims/<PersistentVolume>/…         outlive their pods
<state>/hosts/<node>/<path>                 hostPath: the node's disk is a folder of ours, never the real one
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minikube_py.images.expansion import expand
from minikube_py.kubelet.volumes import Place, Volume

__all__ = ["CLAIMS", "PodFiles", "PodFolders"]

CLAIMS = "claims"


class PodFolders:
    """The folders of one pod.

    Resource handling: `remove()` deletes what is the pod's own; claims and host paths stay.
    """

    def __init__(self, state: Path, *, uid: str, node: str) -> None:
        self._own = state / "pods" / uid
        self._claims = state / CLAIMS
        self._host = state / "hosts" / node
        self._volumes: dict[str, Path] = {}

    def put(self, name: str, volume: Volume) -> None:
        """Make (or refresh) a volume's folder and write its files."""
        match volume.place:
            case Place.CLAIM:
                folder = self._claims / volume.path
            case Place.HOST:
                folder = self._host / volume.path.lstrip("/")
            case Place.POD:
                folder = self._own / "volumes" / name
        if volume.is_file:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.touch()
        else:
            folder.mkdir(parents=True, exist_ok=True)
        for relative, content in volume.files.items():
            target = folder / relative
            if not target.resolve().is_relative_to(folder.resolve()):
                continue  # `..` in a key: the API server refuses it as well
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.new")
            temporary.write_bytes(content)
            temporary.chmod(volume.mode | 0o600)
            os.replace(temporary, target)  # readers see the old or the new content, never half of it
        self._volumes[name] = folder

    def text(self, name: str, content: str) -> Path:
        """Write a file such as `etc/hosts` and return where it is."""
        target = self._own / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_text(content)
        return target

    def read(self, name: str) -> str:
        """Return what a program has put into a file of `text`; "" if nobody looked at it."""
        file = self._own / name
        return file.read_text("utf-8", "replace") if file.is_file() else ""

    def root(self, container: str, mounts: Mapping[str, Path]) -> Path:
        """Make the folder that shows a container's mounts under their own paths, for programs of this machine."""
        root = self._own / "root" / container
        root.mkdir(parents=True, exist_ok=True)
        for path in sorted(mounts):  # `/data` before `/data/sub`: what lies in another mount is made in that one
            link = root / path.lstrip("/")
            if link.is_symlink():
                link.unlink()
            if path != "/" and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(mounts[path].resolve())
        return root

    def mounted(self, container: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Path]:
        """Return mount path → folder or file for a container's `volumeMounts`."""
        found = {}
        for mount in container.get("volumeMounts") or ():
            if (folder := self._volumes.get(mount.get("name", ""))) is None:
                continue
            sub = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
            path = folder / sub.lstrip("/") if sub else folder
            if sub and not path.exists() and path.resolve().is_relative_to(folder.resolve()):
                path.mkdir(parents=True)
            found[str(mount.get("mountPath", "")).rstrip("/") or "/"] = path
        return found

    def remove(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)


class PodFiles(Mapping[str, Path]):
    """`Container.files`: the mounts, and the files that every pod has, which are written when somebody looks.

    `names` says under which name of the pod's folder a file is kept, where that is not its path.
    """

    def __init__(
        self,
        mounts: Mapping[str, Path],
        folders: PodFolders,
        written: Mapping[str, str | Callable[[], str]],
        names: Mapping[str, str],
    ) -> None:
        self._mounts = dict(mounts)
        self._folders = folders
        self._written = {path: text for path, text in written.items() if path not in self._mounts}
        self._names = names

    def __getitem__(self, path: str) -> Path:
        if path in self._mounts:
            return self._mounts[path]
        text = self._written[path]
        name = self._names.get(path, path.lstrip("/"))
        return self._folders.text(name, text if isinstance(text, str) else text())

    def __iter__(self) -> Iterator[str]:
        yield from self._mounts
        yield from self._written

    def __len__(self) -> int:
        return len(self._mounts) + len(self._written)
