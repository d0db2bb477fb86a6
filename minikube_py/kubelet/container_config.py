"""What a container's program is given: environment, command, files, ports.

Stands for kuberuntime's generateContainerConfig and the kubelet's GenerateRunContainerOptions.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.quantities import whole
from minikube_py.images.container import Container, PodInfo
from minikube_py.images.expansion import expand
from minikube_py.kubelet import ports
from minikube_py.kubelet.environment import container_environment
from minikube_py.kubelet.mounts import PodFiles
from minikube_py.kubelet.sandbox import Sandbox
from minikube_py.kubelet.volume_manager import VolumeManager

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["container_config", "last_words"]

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
"""As long as the admission plugin of a real cluster asks for."""


class _Ready(asyncio.Event):
    """`Container.ready`, which calls back when it is set."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def set(self) -> None:
        if not self.is_set():
            super().set()
            self._callback()


def container_config(
    kubelet: "Kubelet",
    pod: Object,
    spec: Mapping[str, Any],
    sandbox: Sandbox,
    volumes: VolumeManager,
    attempt: int,
    started: Callable[[], None],
) -> Container:
    """Return what the program of a container gets; `started` is called when it says that it is up.

    Error handling: ConfigError when a ConfigMap, Secret or key that is not optional is missing.
    """
    name, key = str(spec["name"]), meta.key(pod)
    base = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": sandbox.hostname,
        **kubelet.service_environment(key.namespace, meta.spec(pod).get("enableServiceLinks") is not False),
    }
    env = container_environment(
        spec, pod, base=base, status=sandbox.ips, allocatable=kubelet.capacity, lookup=volumes.lookup
    )
    tcp, udp = ports.listening(spec, pod, kubelet.services_of(pod), kubelet.catalog.known)
    container = Container(
        name=name,
        image=str(spec.get("image", "")),
        pod=PodInfo(
            namespace=key.namespace,
            name=key.name,
            uid=meta.uid(pod),
            ip=sandbox.ip,
            hostname=sandbox.hostname,
            node=kubelet.node,
            node_ip=kubelet.ip,
            labels=meta.labels(pod),
            annotations=meta.annotations(pod),
            service_account=str(meta.spec(pod).get("serviceAccountName") or "default"),
        ),
        write=lambda text: None,
        command=tuple(expand(str(word), env) for word in spec.get("command") or ()),
        args=tuple(expand(str(word), env) for word in spec.get("args") or ()),
        env=env,
        ports=tcp,
        udp_ports=udp,
        files=_files(kubelet, pod, spec, sandbox, volumes, env, attempt),
        memory=whole(((spec.get("resources") or {}).get("limits") or {}).get("memory") or 0),
        working_dir=str(spec.get("workingDir") or "/"),
        tty=bool(spec.get("tty")),
        ends=_ends(spec, pod),
        ready=_Ready(started),
    )
    container.extra["read_only"] = _read_only(spec, pod)
    container.extra["root"] = lambda: volumes.folders.root(
        name, {path: container.files[path] for path in container.files}
    )
    container.extra["real_port"] = lambda port: kubelet.fabric.real_address(sandbox.ip, port)[1]
    if spec.get("stdin"):
        container.stdin = asyncio.StreamReader()
    return container


def _ends(spec: Mapping[str, Any], pod: Object) -> bool:
    """Tell whether others wait for the end of a container."""
    if any(init is spec for init in meta.spec(pod).get("initContainers") or ()):
        return bool(spec.get("restartPolicy") != "Always")
    return bool(meta.spec(pod).get("restartPolicy", "Always") != "Always")


def _files(
    kubelet: "Kubelet",
    pod: Object,
    spec: Mapping[str, Any],
    sandbox: Sandbox,
    volumes: VolumeManager,
    env: Mapping[str, str],
    attempt: int,
) -> Mapping[str, Any]:
    mounted = volumes.folders.mounted(spec, env) if spec.get("volumeMounts") else {}
    written: dict[str, str | Callable[[], str]] = {
        "/etc/hosts": sandbox.etc_hosts,
        "/etc/resolv.conf": sandbox.resolv_conf.text(),
        "/etc/hostname": f"{sandbox.hostname}\n",
    }
    if meta.spec(pod).get("automountServiceAccountToken") is not False:
        written[f"{_ACCOUNT}/namespace"] = meta.namespace(pod)
        if (identity := kubelet.identity) is not None:  # made when somebody reads them
            written[f"{_ACCOUNT}/token"] = lambda: volumes.token(pod, _TOKEN_SECONDS)
            written[f"{_ACCOUNT}/ca.crt"] = identity.root_certificate
    said = str(spec.get("terminationMessagePath") or "/dev/termination-log")
    written[said] = ""
    return PodFiles(mounted, volumes.folders, written, {said: last_words(str(spec["name"]), attempt)})


def last_words(container: str, attempt: int) -> str:
    """Return where the termination message of one run of a container is kept."""
    return f"termination/{container}-{attempt}"


def _read_only(spec: Mapping[str, Any], pod: Object) -> frozenset[str]:
    """Return the mount points that a container may not write to: by its own wish, or because the API owns the files."""
    owned = {
        volume["name"]
        for volume in meta.spec(pod).get("volumes") or ()
        if {"configMap", "secret", "downwardAPI", "projected"} & volume.keys()
    }
    return frozenset(
        str(mount.get("mountPath", "")).rstrip("/") or "/"
        for mount in spec.get("volumeMounts") or ()
        if mount.get("readOnly") or mount.get("name") in owned
    )
