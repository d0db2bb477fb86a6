"""Volumes on this machine's disk, under the cluster's state folder, made only for pods that mount one.

<state>/pods/<pod uid>/volumes/<name>/…     emptyDir, configMap, secret, downwardAPI, projected
<state>/pods/<pod uid>/etc/hosts            written when somebody looks
<state>/claims/<PersistentVolume>/…         outlive their pods
<state>/hosts/<node>/<path>                 hostPath: the node's disk is a folder of ours, never the real one
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from minikube_py.images.expansion import expand
from minikube_py.kubelet.volumes import File, Place, Volume

__all__ = ["CLAIMS", "PodFiles", "PodFolders"]

CLAIMS = "claims"


class PodFolders:
    """The folders of one pod; the cluster's own, `state`, is asked for when the first is made.

    Resource handling: `remove()` deletes what is the pod's own; claims and host paths stay.
    """

    def __init__(self, state: Callable[[], Path], *, uid: str, node: str) -> None:
        self._state = state
        self._uid = uid
        self._node = node
        self._volumes: dict[str, Path] = {}
        self._payloads: dict[str, Mapping[str, File]] = {}

    @property
    def used(self) -> bool:
        """Whether the pod has any."""
        return bool(self._volumes) or "_own" in self.__dict__

    @cached_property
    def _own(self) -> Path:
        return self._state() / "pods" / self._uid

    def put(self, name: str, volume: Volume) -> None:
        """Make (or refresh) a volume's folder and write its files."""
        match volume.place:
            case Place.CLAIM:
                folder = self._state() / CLAIMS / volume.path
            case Place.HOST:
                folder = self._state() / "hosts" / self._node / volume.path.lstrip("/")
            case Place.POD:
                folder = self._own / "volumes" / name
        if volume.is_file:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.touch()
        else:
            folder.mkdir(parents=True, exist_ok=True)
        if volume.files is not None and self._payloads.get(name) != volume.files:
            _publish(folder, volume.files)
            self._payloads[name] = volume.files
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
        """Return mount path → folder or file for a container's `volumeMounts`.

        A subPath of a volume that the API feeds is a copy: as a real bind mount, it stays what it was at the start.
        """
        found = {}
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            name = mount.get("name", "")
            if (folder := self._volumes.get(name)) is None:
                continue
            sub = (mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)).lstrip("/")
            path = folder / sub if sub else folder
            if sub and not path.exists() and path.resolve().is_relative_to(folder.resolve()):
                path.mkdir(parents=True)
            if sub and name in self._payloads:
                copy = self._own / "volume-subpaths" / name / str(container["name"]) / str(index)
                path = _copied(path, copy)
            found[str(mount.get("mountPath", "")).rstrip("/") or "/"] = path
        return found

    def remove(self) -> None:
        if "_own" in self.__dict__:
            shutil.rmtree(self._own, ignore_errors=True)


def _publish(folder: Path, files: Mapping[str, File]) -> None:
    """Show `files` in a folder all at once, as the kubelet's AtomicWriter does.

    <folder>/..2026_11_20_16_37_16.x7f3/…    what is shown now
    <folder>/..data ─► ..2026_…              swapped in one step
    <folder>/app.conf ─► ..data/app.conf     one for each file or folder at the top
    """
    shown = Path(tempfile.mkdtemp(prefix=time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime()), dir=folder))
    shown.chmod(0o755)
    paths = {relative: Path(relative) for relative in files}
    inside = {p: files[relative] for relative, p in paths.items() if ".." not in p.parts and not p.is_absolute()}
    for path, file in inside.items():  # the API server refuses the others, as we do
        target = shown / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode | 0o400)  # we have to read it ourselves, whoever we are
    data = folder / "..data"
    before = folder / os.readlink(data) if data.is_symlink() else None
    fresh = folder / "..data_tmp"
    fresh.symlink_to(shown.name)
    os.replace(fresh, data)
    wanted = {path.parts[0] for path in inside}
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in wanted:
            link.unlink()
    for top in wanted:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(Path("..data") / top)
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def _copied(source: Path, target: Path) -> Path:
    """Copy a file or folder to a place of its own, in place of an earlier copy."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
    return target


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
