"""StatefulSets: numbered pods with names, volumes and an order of their own.

Stands for kube-controller-manager's statefulset controller (stateful_set_control.go).
Leaves out MaxUnavailableStatefulSet (alpha) and re-creation of claims that are being deleted.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.controllers import pods, revisions

__all__ = ["StatefulSetController"]

_RESOURCE = "statefulsets.apps"
_POD_NAME = "statefulset.kubernetes.io/pod-name"
_POD_INDEX = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


@final
class StatefulSetController:
    name = "statefulset-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _RESOURCE: lambda event, view: (event.key,),
            "pods": lambda event, view: pods.owned(event, view, "StatefulSet", _RESOURCE),
        }

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        owner = view.get(_RESOURCE, key.name, key.namespace)
        if owner is None or not meta.spec(owner).get("selector"):
            return ()
        selector = pods.selector_of(owner["spec"]["selector"])
        candidates, actions = pods.claim(owner, "pods", view, selector)
        mine = {ordinal: pod for pod in candidates if (ordinal := _ordinal(owner, pod)) is not None}
        in_use = [meta.labels(pod).get(revisions.HASH_LABEL, "") for pod in mine.values()]
        current, update, _, more = revisions.history(owner, view, in_use)
        actions.extend(more)
        look = _Look(owner, mine, current, update, view, now)
        if not meta.terminating(owner):
            look.step()
        look.status()
        return [*actions, *look.done]


class _Look:
    """One look at one StatefulSet."""

    def __init__(
        self, owner: Object, mine: dict[int, Object], current: Object, update: Object, view: View, now: float
    ) -> None:
        self.owner = owner
        self.spec = owner["spec"]
        self.mine = mine
        self.current, self.update = meta.name(current), meta.name(update)
        self.current_template = current["data"]["spec"]["template"]
        self.view = view
        self.now = now
        self.replicas = 1 if self.spec.get("replicas") is None else int(self.spec["replicas"])
        self.start = int((self.spec.get("ordinals") or {}).get("start", 0))
        self.parallel = self.spec.get("podManagementPolicy") == "Parallel"
        strategy = self.spec.get("updateStrategy") or {}
        self.on_delete = strategy.get("type") == "OnDelete"
        self.partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        self.min_ready = float(self.spec.get("minReadySeconds") or 0)
        self.soonest = 0.0
        self.done: list[Action] = []

    # The order of things

    def step(self) -> None:
        end = self.start + self.replicas
        for ordinal in range(self.start, end):
            if not self._keep(ordinal) and not self.parallel:
                return
        if not self._condemn(sorted((n for n in self.mine if not self.start <= n < end), reverse=True)):
            return
        if not self.on_delete:
            self._roll(end)

    def _keep(self, ordinal: int) -> bool:
        """See that the pod with this number exists; tell whether it is running and available."""
        pod = self.mine.get(ordinal)
        if pod is None:
            self._create(ordinal)
            return False
        if pods.finished(pod):
            if not meta.terminating(pod):
                what = f"{meta.namespace(self.owner)}/{meta.name(self.owner)} is recreating failed Pod {meta.name(pod)}"
                word = "Failed" if meta.status(pod).get("phase") == "Failed" else "Terminated"
                self.done.append(Emit(self.owner, "Warning", f"Recreating{word}Pod", f"StatefulSet {what}"))
                self.done.append(Delete("pods", meta.key(pod), uid=meta.uid(pod)))
            return False
        if meta.terminating(pod):
            return False
        self._claims(ordinal)
        return self._available(pod)

    def _available(self, pod: Object) -> bool:
        is_available, wait = pods.available(pod, self.min_ready, self.now)
        if wait:
            self.soonest = min(self.soonest or wait, wait)
        return is_available

    def _condemn(self, numbers: Sequence[int]) -> bool:
        """Give up the pods beyond the wanted number, the highest first; tell whether none is left."""
        for number in numbers:
            pod = self.mine[number]
            if meta.terminating(pod):
                if not self.parallel:
                    return False
                continue
            if not self.parallel and not self._healthy_below(number):
                return False
            self._delete(pod)
            if not self.parallel:
                return False
        return not numbers or self.parallel

    def _healthy_below(self, number: int) -> bool:
        """A pod is only given up when its predecessors are well."""
        return all(pods.ready(p) and not meta.terminating(p) for n, p in self.mine.items() if n < number)

    def _roll(self, end: int) -> None:
        for number in range(end - 1, self.start + self.partition - 1, -1):
            pod = self.mine.get(number)
            if pod is None:
                return
            if self._revision(pod) != self.update and not meta.terminating(pod):
                self._delete(pod)
                return
            if meta.terminating(pod) or not self._available(pod):
                return

    # Pods and their claims

    def _revision(self, pod: Object) -> str:
        return meta.labels(pod).get(revisions.HASH_LABEL, "")

    def _keeps_current(self, ordinal: int) -> bool:
        """Whether a pod that is created now gets the template from before the update."""
        strategy = self.spec.get("updateStrategy") or {}
        if self.on_delete:
            return False
        if strategy.get("rollingUpdate") is None:
            return ordinal < self.start + int(meta.status(self.owner).get("currentReplicas", 0))
        return ordinal < self.start + self.partition

    def _create(self, ordinal: int) -> None:
        old = self._keeps_current(ordinal)
        template = self.current_template if old else self.spec["template"]
        name = f"{meta.name(self.owner)}-{ordinal}"
        spec = {**template["spec"], "hostname": name}
        if service := self.spec.get("serviceName"):
            spec["subdomain"] = service
        claims = {claim["metadata"]["name"]: claim for claim in self.spec.get("volumeClaimTemplates") or ()}
        if claims:
            volumes = [volume for volume in spec.get("volumes") or () if volume["name"] not in claims]
            spec["volumes"] = [
                {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in claims
            ] + volumes
        self._claims(ordinal)
        pod = pods.from_template(
            template,
            self.owner,
            name=name,
            labels={
                revisions.HASH_LABEL: self.current if old else self.update,
                _POD_NAME: name,
                _POD_INDEX: str(ordinal),
            },
            spec=spec,
        )
        text = f"create Pod {name} in StatefulSet {{owner}} successful"
        self.done.append(Create(pod, about=self.owner, created=text))

    def _claims(self, ordinal: int) -> None:
        pod = f"{meta.name(self.owner)}-{ordinal}"
        policy = (self.spec.get("persistentVolumeClaimRetentionPolicy") or {}).get("whenDeleted", "Retain")
        for template in self.spec.get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{pod}"
            existing = self.view.get("persistentvolumeclaims", name, meta.namespace(self.owner))
            references = [meta.owner_reference(self.owner)] if policy == "Delete" else []
            if existing is not None:
                self._retain(existing, references)
                continue
            labels = {
                **(template["metadata"].get("labels") or {}),
                **((self.spec.get("selector") or {}).get("matchLabels") or {}),
            }
            claim: Object = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {**template["metadata"], "name": name, "namespace": meta.namespace(self.owner)},
                "spec": template.get("spec") or {},
            }
            claim["metadata"]["labels"] = labels
            if references:
                claim["metadata"]["ownerReferences"] = references
            done = f"create Claim {name} Pod {pod} in StatefulSet {{owner}} success"
            self.done.append(Create(claim, about=self.owner, created=done))

    def _retain(self, claim: Object, references: list[Object]) -> None:
        """Bring the claim's owner in line with persistentVolumeClaimRetentionPolicy.whenDeleted."""
        uid = meta.uid(self.owner)
        have = claim["metadata"].get("ownerReferences") or []
        others = [reference for reference in have if reference["uid"] != uid]
        if bool(references) != (len(others) != len(have)) and not meta.terminating(claim):
            self.done.append(Update(meta.with_owners(claim, others + references)))

    def _delete(self, pod: Object) -> None:
        self.done.append(Delete("pods", meta.key(pod), uid=meta.uid(pod)))
        text = f"delete Pod {meta.name(pod)} in StatefulSet {meta.name(self.owner)} successful"
        self.done.append(Emit(self.owner, "Normal", "SuccessfulDelete", text))
        number = _ordinal(self.owner, pod)
        policy = (self.spec.get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled", "Retain")
        if policy != "Delete" or number is None or self.start <= number < self.start + self.replicas:
            return
        for template in self.spec.get("volumeClaimTemplates") or ():
            key = Key(meta.namespace(pod), f"{template['metadata']['name']}-{meta.name(pod)}")
            if self.view.get("persistentvolumeclaims", key.name, key.namespace) is not None:
                self.done.append(Delete("persistentvolumeclaims", key))

    # Status

    def status(self) -> None:
        existing = list(self.mine.values())
        ready = [pod for pod in existing if pods.ready(pod) and meta.status(pod).get("phase") == "Running"]
        alive = [pod for pod in existing if pods.active(pod)]
        available = [pod for pod in ready if self._available(pod)]
        on_current = sum(self._revision(pod) == self.current for pod in alive)
        on_update = sum(self._revision(pod) == self.update for pod in alive)
        current = self.current
        if not self.on_delete and on_update == len(existing) == len(ready) == self.replicas:
            current, on_current = self.update, on_update  # the roll is complete
        old = meta.status(self.owner)
        status: Object = {"replicas": len(existing)}
        for field, count in (
            ("readyReplicas", len(ready)),
            ("currentReplicas", on_current),
            ("updatedReplicas", on_update),
        ):
            if count:
                status[field] = count
        status["availableReplicas"] = len(available)
        status["currentRevision"] = current
        status["updateRevision"] = self.update
        status["collisionCount"] = old.get("collisionCount", 0)
        if generation := self.owner["metadata"].get("generation"):
            status["observedGeneration"] = generation
        if "conditions" in old:
            status["conditions"] = old["conditions"]
        if status != old:
            self.done.append(UpdateStatus({**self.owner, "status": status}))
        if self.soonest:
            self.done.append(Requeue(self.soonest))


def _ordinal(owner: Object, pod: Object) -> int | None:
    found = _ORDINAL.fullmatch(meta.name(pod))
    return int(found[2]) if found and found[1] == meta.name(owner) else None
