"""Roles, bindings and what they allow."""

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.credentials import ADMIN, User
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.rbac import Attributes, authorize, bootstrap, forbidden

API = "rbac.authorization.k8s.io"
BOB = User("bob", ("system:authenticated", "team"))
BOT = User("system:serviceaccount:shop:bot", ("system:serviceaccounts", "system:authenticated"))


def role(kind: str, name: str, rules: list[Object]) -> Object:
    return {"apiVersion": f"{API}/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}


def binding(kind: str, name: str, to: str, role_name: str, subject: Object) -> Object:
    group = {} if subject["kind"] == "ServiceAccount" else {"apiGroup": API}
    return {
        "apiVersion": f"{API}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": API, "kind": to, "name": role_name},
        "subjects": [{**group, **subject}],
    }


@pytest.fixture
def api() -> Operations:
    """In the namespace default: bob reads pods, the team one ConfigMap; the bot views everything."""
    api = Operations(VirtualClock(), seed=1)
    pods = {"apiGroups": [""], "resources": ["pods", "pods/log", "*/scale"], "verbs": ["get", "list"]}
    one = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["paint"], "verbs": ["*"]}
    for obj in (
        *bootstrap(),
        role("Role", "reader", [pods]),
        role("Role", "painter", [one]),
        role("ClusterRole", "deployer", [{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}]),
        binding("RoleBinding", "readers", "Role", "reader", {"kind": "User", "name": "bob"}),
        binding("RoleBinding", "painters", "Role", "painter", {"kind": "Group", "name": "team"}),
        binding("RoleBinding", "deployers", "ClusterRole", "deployer", {"kind": "User", "name": "bob"}),
        binding(
            "ClusterRoleBinding",
            "viewers",
            "ClusterRole",
            "view",
            {"kind": "ServiceAccount", "name": "bot", "namespace": "shop"},
        ),
    ):
        api.create(obj)
    return api


@pytest.mark.parametrize(
    ("user", "wanted", "allowed"),
    [
        pytest.param(ADMIN, Attributes("delete", "", "nodes", name="x"), True, id="system:masters may do everything"),
        pytest.param(BOB, Attributes("list", "", "pods", namespace="default"), True, id="what a Role gives"),
        pytest.param(BOB, Attributes("delete", "", "pods", namespace="default"), False, id="no other verb"),
        pytest.param(BOB, Attributes("list", "", "pods", namespace="shop"), False, id="in no other namespace"),
        pytest.param(BOB, Attributes("list", "", "pods"), False, id="not in all namespaces"),
        pytest.param(BOB, Attributes("get", "", "pods", "log", "default", "x"), True, id="a sub-resource by name"),
        pytest.param(BOB, Attributes("get", "", "pods", "exec", "default", "x"), False, id="no other sub-resource"),
        pytest.param(
            BOB, Attributes("get", "", "replicationcontrollers", "scale", "default"), True, id="*/scale is any kind's"
        ),
        pytest.param(
            BOB, Attributes("patch", "", "configmaps", "", "default", "paint"), True, id="a Group's resourceNames"
        ),
        pytest.param(BOB, Attributes("patch", "", "configmaps", "", "default", "other"), False, id="no other name"),
        pytest.param(BOB, Attributes("list", "", "configmaps", "", "default"), False, id="names allow no list"),
        pytest.param(
            BOB, Attributes("create", "apps", "deployments", "", "default"), True, id="a ClusterRole in a RoleBinding"
        ),
        pytest.param(
            BOB, Attributes("create", "apps", "deployments", "", "shop"), False, id="is bound in that namespace only"
        ),
        pytest.param(BOT, Attributes("watch", "apps", "deployments"), True, id="a ClusterRoleBinding: everywhere"),
        pytest.param(BOT, Attributes("list", "", "secrets", "", "shop"), False, id="view shows no Secrets"),
        pytest.param(BOB, Attributes("get", path="/apis/apps/v1"), True, id="discovery is everybody's"),
        pytest.param(BOB, Attributes("get", path="/metrics"), False, id="other paths are not"),
        pytest.param(
            BOB, Attributes("create", "authorization.k8s.io", "selfsubjectaccessreviews"), True, id="asking is allowed"
        ),
    ],
)
def test_bindings_decide(api: Operations, user: User, wanted: Attributes, allowed: bool) -> None:
    """A request is allowed if and only if a rule of a bound role matches it."""
    assert authorize(api, user, wanted).allowed is allowed


def test_a_verdict_names_its_binding(api: Operations) -> None:
    """The reason is kube-apiserver's own sentence."""
    verdict = authorize(api, BOB, Attributes("list", "", "pods", namespace="default"))
    assert verdict.because == 'RBAC: allowed by RoleBinding "readers/default" of Role "reader" to User "bob"'


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            Attributes("list", "apps", "deployments", "", "shop"),
            'deployments.apps is forbidden: User "bob" cannot list resource "deployments" in API group "apps" '
            'in the namespace "shop"',
        ),
        (
            Attributes("get", "", "pods", "log", "shop", "x"),
            'pods "x" is forbidden: User "bob" cannot get resource "pods/log" in API group "" in the namespace "shop"',
        ),
        (
            Attributes("list", "", "nodes"),
            'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
        (Attributes("get", path="/metrics"), 'forbidden: User "bob" cannot get path "/metrics"'),
    ],
    ids=["list", "sub-resource", "cluster scope", "path"],
)
def test_a_refusal_is_in_kubernetes_words(wanted: Attributes, message: str) -> None:
    """403 Forbidden, with what was tried and where."""
    error = forbidden(BOB, wanted)
    assert (error.code, error.reason, error.message) == (403, "Forbidden", message)
