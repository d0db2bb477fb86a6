"""Pod specs as the real server completes them: what Pods and all workload templates have in common.

Stands for pkg/apis/core/v1/defaults.go. Left out: defaults of volume types that nothing here mounts (iSCSI, RBD, …).
Everything here is idempotent, and works on a copy that the caller owns.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minikube_py.apimachinery import quantities

__all__ = ["UNSUPPORTED", "all_containers", "default_pod_spec", "default_template", "unsupported"]

_TERMINATION_LOG = "/dev/termination-log"

UNSUPPORTED: Mapping[str, str] = {
    "hostIPC": "pods are asyncio servers in one process: there is no IPC namespace",
    "hostPID": "pods are asyncio servers in one process: there is no PID namespace",
    "hostUsers": "there are no user namespaces",
    "overhead": "there is no pod sandbox that would cost anything",
    "resourceClaims": "there are no devices to claim",
    "runtimeClassName": "there is no container runtime to choose",
    "securityContext.appArmorProfile": "there are no kernel security modules around a pod",
    "securityContext.fsGroup": "files belong to the user who runs the cluster",
    "securityContext.runAsGroup": "everything runs as the user who runs the cluster",
    "securityContext.runAsNonRoot": "everything runs as the user who runs the cluster",
    "securityContext.runAsUser": "everything runs as the user who runs the cluster",
    "securityContext.seLinuxOptions": "there are no kernel security modules around a pod",
    "securityContext.seccompProfile": "there are no system call filters around a pod",
    "securityContext.supplementalGroups": "everything runs as the user who runs the cluster",
    "securityContext.sysctls": "pods share the host's kernel settings",
    "securityContext.windowsOptions": "there are no Windows nodes",
    "shareProcessNamespace": "pods are asyncio servers in one process: there is no PID namespace",
    **{
        f"volumes[].{kind}": "there is no such storage; the volume is an empty folder"
        for kind in (
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "image",
            "iscsi",
            "nfs",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "rbd",
            "scaleIO",
            "storageos",
            "vsphereVolume",
        )
    },
}
"""Field of the pod spec (of each container for those with `[]`) → why it has no effect."""

_CONTAINER_UNSUPPORTED: Mapping[str, str] = {
    "ports[].hostIP": "host ports are opened on the node's address only",
    "resizePolicy": "containers are not resized in place",
    "securityContext.allowPrivilegeEscalation": "nothing here can gain privileges",
    "securityContext.appArmorProfile": "there are no kernel security modules around a container",
    "securityContext.capabilities": "containers have the capabilities of the process that runs the cluster",
    "securityContext.privileged": "containers have the rights of the user who runs the cluster",
    "securityContext.procMount": "there is no /proc of a container's own",
    "securityContext.readOnlyRootFilesystem": "containers have no file system of their own",
    "securityContext.runAsGroup": "everything runs as the user who runs the cluster",
    "securityContext.runAsNonRoot": "everything runs as the user who runs the cluster",
    "securityContext.runAsUser": "everything runs as the user who runs the cluster",
    "securityContext.seLinuxOptions": "there are no kernel security modules around a container",
    "securityContext.seccompProfile": "there are no system call filters around a container",
    "securityContext.windowsOptions": "there are no Windows nodes",
    "volumeDevices": "there are no block devices",
    "volumeMounts[].mountPropagation": "volumes are folders, not mounts",
}


def unsupported(prefix: str) -> dict[str, str]:
    """Return `Kind.unsupported` for a kind whose pod spec stands at `prefix` (`spec.template.spec`)."""
    found = {f"{prefix}.{path}": why for path, why in UNSUPPORTED.items()}
    for containers in ("containers[]", "initContainers[]"):
        found.update({f"{prefix}.{containers}.{path}": why for path, why in _CONTAINER_UNSUPPORTED.items()})
    return found


def all_containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each container with its path: `initContainers[0]`, `containers[0]`, `ephemeralContainers[0]`."""
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield f"{group}[{index}]", container


def default_template(template: dict[str, Any]) -> None:
    """Complete a pod template in place."""
    metadata = template.setdefault("metadata", {})
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]  # clients write null; two equal templates must stay equal
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Complete a pod spec in place."""
    for key, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
    ):
        _fill(spec, key, value)
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account  # the old and the new name of one field
    for _, container in all_containers(spec):
        _default_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _fill(value: dict[str, Any], key: str, default: Any) -> None:
    """Set what is missing or has Go's zero value of a string."""
    if value.get(key) in (None, ""):
        value[key] = default


def _default_container(container: dict[str, Any], *, host_network: bool) -> None:
    _fill(container, "imagePullPolicy", _pull_policy(str(container.get("image") or "")))
    _fill(container, "terminationMessagePath", _TERMINATION_LOG)
    _fill(container, "terminationMessagePolicy", "File")
    if container.get("resources") is None:
        container["resources"] = {}
    canonical_resources(container["resources"])
    for port in container.get("ports") or ():
        _fill(port, "protocol", "TCP")
        if host_network and not port.get("hostPort") and "containerPort" in port:
            port["hostPort"] = port["containerPort"]
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _fill(reference, "apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _default_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if request := (hook or {}).get("httpGet"):
            _default_request(request)


def _pull_policy(image: str) -> str:
    """`latest`, said or meant, is pulled always; a digest or another tag only where it is missing."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def _default_probe(probe: dict[str, Any]) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(key):
            probe[key] = value
    if request := probe.get("httpGet"):
        _default_request(request)
    if (grpc := probe.get("grpc")) and grpc.get("service") is None:
        grpc["service"] = ""


def _default_request(request: dict[str, Any]) -> None:
    _fill(request, "path", "/")
    _fill(request, "scheme", "HTTP")


def canonical_resources(resources: Mapping[str, Any]) -> None:
    """Write the quantities of `limits` and `requests` in their canonical form, in place."""
    for group in ("limits", "requests"):
        canonical_quantities(resources.get(group))


def canonical_quantities(values: dict[str, Any] | None) -> None:
    for name, value in (values or {}).items():
        if value is not None and values is not None:
            values[name] = quantities.canonical(value)


def requests_from_limits(spec: Mapping[str, Any]) -> None:
    """Request what is limited where nothing else is requested; the real server does so for Pods, not templates."""
    for _, container in all_containers(spec):
        resources = container.get("resources") or {}
        if limits := resources.get("limits"):
            resources["requests"] = {**limits, **(resources.get("requests") or {})}


_VOLUME_MODES = ("secret", "configMap", "downwardAPI", "projected")


def _default_volume(volume: dict[str, Any]) -> None:
    if not any(value is not None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}
    for kind in _VOLUME_MODES:
        if (source := volume.get(kind)) is not None and source.get("defaultMode") is None:
            source["defaultMode"] = 0o644
    if (source := volume.get("hostPath")) is not None and source.get("type") is None:
        source["type"] = ""
    _default_field_refs((volume.get("downwardAPI") or {}).get("items") or ())
    for source in (volume.get("projected") or {}).get("sources") or ():
        _default_field_refs((source.get("downwardAPI") or {}).get("items") or ())
        token = source.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
    if (claim := (volume.get("ephemeral") or {}).get("volumeClaimTemplate")) is not None:
        _fill(claim.setdefault("spec", {}), "volumeMode", "Filesystem")


def _default_field_refs(items: Iterable[dict[str, Any]]) -> None:
    for item in items:
        if (reference := item.get("fieldRef")) is not None:
            _fill(reference, "apiVersion", "v1")
