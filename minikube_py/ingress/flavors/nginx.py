"""ingress-nginx, the controller that is on by default. Its annotations are in `ingress.annotations`."""

from minikube_py.ingress.flavors.flavor import Flavor

FLAVOR = Flavor(
    name="nginx",
    controller="k8s.io/ingress-nginx",
    namespace="ingress-nginx",
    workload="ingress-nginx-controller",
    service="ingress-nginx-controller",
    image="registry.k8s.io/ingress-nginx/controller:v1.12.1",
    args=("/nginx-ingress-controller", "--ingress-class=nginx", "--controller-class=k8s.io/ingress-nginx"),
    labels={
        "app.kubernetes.io/name": "ingress-nginx",
        "app.kubernetes.io/instance": "ingress-nginx",
        "app.kubernetes.io/component": "controller",
    },
)
