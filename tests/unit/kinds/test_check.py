"""Checking manifests without a cluster."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.apimachinery.manifests import Manifest, parse
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.check import check, values_at
from minikube_py.kinds.registry import BUILTIN, Registry


def report(text: str) -> tuple[list[str], list[str]]:
    found = check(parse(text, "app.yaml"), Registry())
    return [str(p) for p in found.errors], [str(p) for p in found.warnings]


def test_a_misspelled_field_is_found_with_line_and_suggestion() -> None:
    """File, line, object, path, and what was meant."""
    errors, _ = report(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - port: 80\n    taragetPort: 8080\n"
    )
    assert errors == ['app.yaml:7: Service/web: spec.ports[0].taragetPort: unknown field, did you mean "targetPort"?']


def test_semantic_rules_have_lines_too() -> None:
    """What the API server would answer with 422."""
    errors, _ = report(
        "apiVersion: apps/v1\n"
        "kind: Deployment\n"
        "metadata:\n  name: web\n"
        "spec:\n"
        "  selector: {matchLabels: {app: web}}\n"
        "  template:\n"
        "    metadata:\n"
        "      labels: {app: wep}\n"
        "    spec:\n"
        "      containers: [{name: c, image: nginx}]\n"
    )
    assert errors == [
        "app.yaml:9: Deployment/web: spec.template.metadata.labels: Invalid value: "
        'map[string]string{"app":"wep"}: `selector` does not match template `labels`'
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metadata: {name: '{{ .Release.Name }}-web'}", "helm template CHART"),
        ("metadata: {name: '${APP}'}", "envsubst < FILE"),
        ("metadata: {name: $APP}", "envsubst < FILE"),
    ],
)
def test_a_template_is_to_be_filled_in_first(text: str, words: str) -> None:
    """Also where the blanks are valid YAML."""
    errors, _ = report(f"apiVersion: v1\nkind: ConfigMap\n{text}\n")
    assert words in errors[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("shop/Chart.yaml", "apiVersion: v2\nname: shop\n", "helm template shop"),
        ("docker-compose.yaml", "services: {web: {image: nginx}}\n", "kompose convert -f docker-compose.yaml"),
    ],
)
def test_other_files_that_lie_beside_manifests_are_known(name: str, text: str, words: str) -> None:
    """Helm's and Compose's are told how they become manifests."""
    found = check(parse(text, name), Registry())
    assert any(words in str(problem) for problem in found.errors)


def test_every_error_of_every_object_is_told() -> None:
    """Nothing starts half."""
    errors, _ = report(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: A}\nspec: {}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: 1}\n"
    )
    assert [line.split(":")[1] for line in errors] == ["3", "4", "9"]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress",
            "removed in Kubernetes 1.22; use apiVersion: networking.k8s.io/v1",
        ),
        ("apiVersion: policy/v1beta1\nkind: PodSecurityPolicy", "removed in Kubernetes 1.25 without a successor"),
        ("apiVersion: apps/v2\nkind: Deployment", "use apiVersion: apps/v1"),
        ("apiVersion: apps/v1\nkind: Deploymnet", 'did you mean "Deployment" (apps/v1)?'),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Application", "ensure CRDs are installed first"),
        ("kind: Pod", "apiVersion: Required value"),
        ("apiversion: v1\nkind: Pod", 'apiVersion: Required value (there is "apiversion")'),
    ],
)
def test_unknown_kinds_get_a_next_step(head: str, words: str) -> None:
    """What replaced it, what was meant, or what to add."""
    [error, *_], _ = report(f"{head}\nmetadata: {{name: x}}\n")
    assert words in error


def test_what_is_for_kubectl_alone_is_left_out_with_a_warning() -> None:
    """A folder with a kustomization.yaml comes up as its plain manifests say; --strict refuses it."""
    errors, [warning] = report(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n"
    )
    assert not errors
    assert "kubectl kustomize" in warning


def test_what_has_no_effect_is_warned_of_once() -> None:
    """One warning per field pattern and object, however many containers have it."""
    errors, warnings = report(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  hostPID: true\n  containers:\n"
        "  - {name: a, image: a, securityContext: {privileged: true}}\n"
        "  - {name: b, image: a, securityContext: {privileged: true}}\n"
    )
    assert errors == []
    assert len(warnings) == 2
    assert warnings[0].startswith("app.yaml:5: Pod/x: spec.hostPID: is not emulated: ")
    assert warnings[1].startswith("app.yaml:7: Pod/x: spec.containers[0].securityContext.privileged: is not emulated: ")


def test_kinds_without_effect_are_warned_of() -> None:
    """They are stored, and that is all."""
    _, warnings = report("apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: x}\nhandler: runsc\n")
    assert warnings == ["app.yaml:1: RuntimeClass/x: kind RuntimeClass is stored without effect here"]


def test_custom_kinds_defined_beside_their_objects_are_known() -> None:
    """A folder with a CRD and its objects is whole."""
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n"
        "spec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: things, kind: Thing}\n"
        "  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n"
        "        type: object\n        properties: {spec: {type: object, properties: {size: {type: integer}}}}\n---\n"
    )
    thing = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {"
    assert report(crd + thing + "size: 1}\n") == ([], [])
    [error], _ = report(crd + thing + "sise: 1}\n")
    assert error.endswith('spec.sise: unknown field, did you mean "size"?')


def test_our_own_document_is_checked_too() -> None:
    """With the nearest name."""
    errors, _ = report("apiVersion: minikube-py/v1alpha1\nkind: Cluster\nnods: 3\n")
    assert errors == ['app.yaml:3: Cluster: nods: unknown field, did you mean "nodes"?']


def test_one_document_of_ours_can_be_there() -> None:
    """The second is told where the first is; another version is told ours."""
    head = "apiVersion: minikube-py/v1alpha1\nkind: Cluster\n"
    assert report(f"{head}---\n{head}")[0] == [
        "app.yaml:4: Cluster: there is one at app.yaml:1, and there can be one only"
    ]
    [error] = report("apiVersion: minikube-py/v2\nkind: Cluster\n")[0]
    assert error.endswith("use apiVersion: minikube-py/v1alpha1, kind: Cluster")


def test_patterns_find_fields() -> None:
    """`[]` is any index, `=` a value; what is false or empty counts as absent."""
    obj: Object = {"spec": {"ports": [{"protocol": "TCP"}, {"protocol": "SCTP"}], "a": False, "b": {}}}
    assert list(values_at(obj, "spec.ports[].protocol=SCTP")) == ["spec.ports[1].protocol"]
    assert list(values_at(obj, "spec.ports[].protocol")) == ["spec.ports[0].protocol", "spec.ports[1].protocol"]
    assert list(values_at(obj, "spec.a")) == list(values_at(obj, "spec.b")) == []


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(
    [
        "metadata",
        "spec",
        "template",
        "containers",
        "ports",
        "rules",
        "http",
        "paths",
        "selector",
        "name",
        "data",
        "roleRef",
    ]
)
bodies = st.dictionaries(words, st.dictionaries(words, json_values, max_size=4) | json_values, max_size=4)


@given(st.sampled_from(BUILTIN), bodies)
def test_any_json_is_checked_without_failing(kind: Any, body: Object) -> None:
    """Whatever stands in a file: a report, never a traceback."""
    source = parse("kind: x")[0]
    obj = {**body, "apiVersion": kind.api_version, "kind": kind.kind}
    check([Manifest(obj, "f.yaml", source._source)], Registry())


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        pytest.param("metadata: {name: a, labels: {x: no}}", "put it in quotes", id="no is false"),
        pytest.param(
            "metadata: {name: a, labels: {x: 8}}", 'put it in quotes: "8"', id="a number where text is wanted"
        ),
        pytest.param("metadata: {name: a, labels: {x: 1.10}}", 'put it in quotes: "1.10"', id="as it was written"),
        pytest.param(
            'metadata: {name: a}\nspec: {ports: [{port: "80"}]}', "write 80 without quotes", id="a quoted port"
        ),
    ],
)
def test_the_traps_of_yaml_are_told(text: str, advice: str) -> None:
    """Go's words for a wrong type, and behind them what to write instead."""
    report = check(parse(f"apiVersion: v1\nkind: Service\n{text}\n"), Registry())
    assert advice in "\n".join(map(str, report.errors))
