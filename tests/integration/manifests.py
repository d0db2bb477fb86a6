"""Manifests that several modules apply: a workload with its Service, a custom resource's definition."""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

CRONTABS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns: [{name: Schedule, type: string, jsonPath: .spec.schedule}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [schedule]
            properties:
              schedule: {type: string, description: When it runs.}
              size: {type: integer, default: 1}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {size: {type: integer}}}
"""


def workload(
    name: str,
    image: str,
    port: int,
    *,
    replicas: int = 1,
    service_port: int = 0,
    namespace: str = "default",
    volumes: Sequence[Object] = (),
    **container: Any,
) -> list[Object]:
    """A Deployment of one container as anybody would write it, and its Service, on the container's port by default."""
    labels, metadata = {"app": name}, {"name": name, "namespace": namespace}
    spec = {"name": name, "image": image, "ports": [{"containerPort": port}], **container}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [spec], "volumes": [*volumes]}}
    ports = [{"port": service_port or port, "targetPort": port}]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
    ]
