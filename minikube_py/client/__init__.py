"""How components reach the API: `API` (the operations), work queues, reconcilers and the event recorder.

Components import this package, never `apiserver`; `cluster.py` introduces them. In process the operations are
plain synchronous calls on the store (no HTTP, no copies): a read returns the stored object itself, under the law
of objects (`apimachinery/__init__.py`): never mutate it.
"""

from minikube_py.client.api import API, Change, Event, Subscription, View
from minikube_py.client.events import Recorder
from minikube_py.client.queue import WorkQueue
from minikube_py.client.reconcile import (
    Action,
    Agent,
    Create,
    Delete,
    Emit,
    Reconciler,
    Requeue,
    Soon,
    Update,
    UpdateStatus,
)

__all__ = [
    "API",
    "Action",
    "Agent",
    "Change",
    "Create",
    "Delete",
    "Emit",
    "Event",
    "Reconciler",
    "Recorder",
    "Requeue",
    "Soon",
    "Subscription",
    "Update",
    "UpdateStatus",
    "View",
    "WorkQueue",
]
