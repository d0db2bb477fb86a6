"""One cluster on the running event loop: every component, introduced to the others and started in order.

store and operations      what everybody talks to
gate, fabric              the network, with policies in force before the first socket
proxy, controllers,       watch and act
  scheduler
kubelets                  one a node; pods run from here on
addons                    namespaces, CoreDNS, the ingress controller
doors                     127.0.0.1:8080 and :8443, the API server
"""

import asyncio
import logging
import os
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import Clock, LoopClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.client.reconcile import Agent
from minikube_py.cluster import addons
from minikube_py.cni.addresses import Addresses, RangeLock, lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.controllers.start import reconcilers
from minikube_py.coredns.server import program as coredns_program
from minikube_py.images.catalog import Catalog
from minikube_py.kinds.clusterconfig import ClusterConfig
from minikube_py.kube_proxy.server import KubeProxy
from minikube_py.kubelet.agent import Kubelet
from minikube_py.kubelet.runtime import KubeletRuntime
from minikube_py.networkpolicy.agent import PolicyGate
from minikube_py.scheduler.agent import Scheduler

if TYPE_CHECKING:
    from minikube_py.apiserver.server import APIServer

__all__ = ["LocalCluster"]

logger = logging.getLogger(__name__)


class LocalCluster:
    """A running cluster, for code on its own event loop.

    Resource handling: `start()` undoes itself when it fails; `stop()` ends every pod, task and socket, in reverse
    order of the start, and removes the folders it made.
    """
