"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs: one template, many rules."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import (
    cronjob,
    daemonset,
    deployment,
    job,
    replicaset,
    replicationcontroller,
    statefulset,
)
from minikube_py.kinds.kind import Kind

NOW = 1_700_000_000.0
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}
APPS = [deployment.KIND, replicaset.KIND, statefulset.KIND, daemonset.KIND]


def make(kind: Kind, **spec: Any) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "creationTimestamp": rfc3339(NOW - 60)},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": meta.copy(TEMPLATE),
            **spec,
        },
    }


def completed(kind: Kind, obj: Object) -> Object:
    obj = meta.copy(obj)
    kind.prepare(obj, None)
    kind.default(obj)
    return obj


def complaints(kind: Kind, obj: Object, old: Object | None = None) -> list[str]:
    return [str(error) for error in kind.validate(completed(kind, obj), old)]


def job_of(**spec: Any) -> Object:
    obj = make(job.KIND, **spec)
    del obj["spec"]["selector"]
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    return obj


def cron(**spec: Any) -> Object:
    obj = make(cronjob.KIND, schedule="*/5 * * * *", jobTemplate={"spec": {"template": job_of()["spec"]["template"]}})
    del obj["spec"]["selector"], obj["spec"]["template"]
    obj["spec"].update(spec)
    return obj


def test_a_deployment_is_completed_as_by_the_real_server() -> None:
    """Strategy, history and deadline."""
    obj = completed(deployment.KIND, make(deployment.KIND))
    spec = {key: value for key, value in obj["spec"].items() if key not in ("template", "selector")}
    assert spec == {
        "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    assert obj["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in obj["spec"]["template"]["spec"]


def test_templates_that_clients_write_differently_are_equal() -> None:
    """`creationTimestamp: null` in a template must not make a new ReplicaSet."""
    noisy = make(deployment.KIND)
    noisy["spec"]["template"]["metadata"]["creationTimestamp"] = None
    assert completed(deployment.KIND, noisy) == completed(deployment.KIND, make(deployment.KIND))


@pytest.mark.parametrize("kind", [*APPS, replicationcontroller.KIND], ids=lambda kind: kind.kind)
def test_completing_twice_changes_nothing(kind: Kind) -> None:
    """Defaults are idempotent."""
    obj = make(kind)
    if kind is replicationcontroller.KIND:
        del obj["spec"]["selector"]
    once = completed(kind, obj)
    again = meta.copy(once)
    kind.default(again)
    assert again == once
    assert list(kind.validate(once, None)) == []


@pytest.mark.parametrize("kind", APPS, ids=lambda kind: kind.kind)
def test_a_selector_must_match_the_template(kind: Kind) -> None:
    """The most quoted message of all."""
    obj = make(kind)
    obj["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert complaints(kind, obj) == [
        'spec.template.metadata.labels: Invalid value: map[string]string{"app":"web"}: '
        "`selector` does not match template `labels`"
    ]


@pytest.mark.parametrize("kind", APPS, ids=lambda kind: kind.kind)
def test_a_selector_is_required_and_immutable(kind: Kind) -> None:
    """apps/v1 knows no default selector."""
    obj = make(kind)
    del obj["spec"]["selector"]
    assert complaints(kind, obj) == ["spec.selector: Required value"]
    old = completed(kind, make(kind))
    new = make(kind)
    new["spec"]["selector"] = {"matchLabels": {"app": "b"}}
    new["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    found = complaints(kind, new, old)
    if kind is statefulset.KIND:
        assert found[-1].startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")
    else:
        assert found == [
            'spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"app":"b"}, '
            "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
        ]


@pytest.mark.parametrize("kind", APPS, ids=lambda kind: kind.kind)
def test_workloads_restart_always(kind: Kind) -> None:
    """Only Jobs may end."""
    obj = make(kind)
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert complaints(kind, obj) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


def test_errors_inside_the_template_have_their_path() -> None:
    """As of a pod, further down."""
    obj = make(deployment.KIND)
    obj["spec"]["template"]["spec"]["containers"] = []
    assert complaints(deployment.KIND, obj) == ["spec.template.spec.containers: Required value"]


def test_a_rollout_must_be_able_to_move() -> None:
    """Neither more nor fewer pods: nothing could ever change."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}
    assert complaints(deployment.KIND, make(deployment.KIND, strategy=strategy)) == [
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
    ]


def test_claims_of_a_stateful_set_can_be_mounted() -> None:
    """A volumeClaimTemplate is a volume of the same name."""
    obj = make(statefulset.KIND, serviceName="web")
    obj["spec"]["volumeClaimTemplates"] = [
        {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    ]
    obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    assert complaints(statefulset.KIND, obj) == []
    old = completed(statefulset.KIND, obj)
    grown = meta.copy(obj)
    grown["spec"]["replicas"] = 5
    assert complaints(statefulset.KIND, grown, old) == []
    renamed = meta.copy(obj)
    renamed["spec"]["serviceName"] = "other"
    assert len(complaints(statefulset.KIND, renamed, old)) == 1


def test_a_job_gets_selector_and_labels_from_its_uid() -> None:
    """kubectl finds a Job's pods by them."""
    obj = completed(job.KIND, job_of())
    labels = obj["spec"]["template"]["metadata"]["labels"]
    assert obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}
    assert labels["batch.kubernetes.io/controller-uid"] == labels["controller-uid"] == "u1"
    assert labels["job-name"] == "web"
    assert (obj["spec"]["completions"], obj["spec"]["backoffLimit"]) == (1, 6)


def test_a_job_may_not_restart_always() -> None:
    """The message names what is possible."""
    obj = job_of()
    del obj["spec"]["template"]["spec"]["restartPolicy"]
    assert complaints(job.KIND, obj) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
        (
            {"completionMode": "Indexed", "maxFailedIndexes": 1},
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
        ),
        (
            {
                "podFailurePolicy": {
                    "rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]
                }
            },
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": '
            "requires the backoffLimitPerIndex to be set",
        ),
        (
            {"completionMode": "Indexed", "successPolicy": {"rules": []}},
            "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is "
            "specified",
        ),
        (
            {"managedBy": "me"},
            'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
    ],
)
def test_a_job_s_policies_fit_its_mode(spec: Object, complaint: str) -> None:
    """What only makes sense of indexes is refused of a Job without."""
    obj = job_of()
    obj["spec"] |= {"completions": 2, **spec}
    assert complaints(job.KIND, obj) == [complaint]


def test_the_template_of_a_job_is_immutable() -> None:
    """To change it, delete the Job."""
    old = completed(job.KIND, job_of())
    new = meta.copy(old)
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    [error] = job.KIND.validate(new, old)
    assert error.path == "spec.template"
    assert error.message.endswith("field is immutable")


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("*/5 * * * *", None),
        ("0 9-17 * jan mon-fri", None),
        ("@hourly", None),
        ("@every 1h30m", None),
        ("TZ=Europe/Berlin 0 0 * * *", None),
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("x * * * *", "failed to parse int from x"),
        ("@often", "unrecognized descriptor: @often"),
    ],
)
def test_schedules(schedule: str, words: str | None) -> None:
    """Wrong ones are explained as robfig/cron explains them."""
    found = cronjob.schedule_error(schedule)
    assert found is None if words is None else words in str(found)


def test_cron_jobs_are_completed_and_checked() -> None:
    """Policies, history; and the rules of Jobs one level down."""
    obj = completed(cronjob.KIND, cron())
    assert (obj["spec"]["concurrencyPolicy"], obj["spec"]["successfulJobsHistoryLimit"]) == ("Allow", 3)
    assert list(cronjob.KIND.validate(obj, None)) == []
    assert complaints(cronjob.KIND, cron(timeZone="Mars/Base")) == [
        'spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'
    ]


def test_rows() -> None:
    """Counts are shown as kubectl's users know them, one cell per column."""
    status = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2, "replicas": 3}
    obj = {**completed(deployment.KIND, make(deployment.KIND, replicas=3)), "status": status}
    assert deployment.KIND.row is not None
    assert deployment.KIND.row(obj, NOW) == ["web", "2/3", 3, 2, "60s", "c", "nginx:1", "app=web"]
    finished = {
        **completed(job.KIND, job_of()),
        "status": {
            "succeeded": 1,
            "startTime": rfc3339(NOW - 50),
            "completionTime": rfc3339(NOW - 38),
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }
    assert job.KIND.row is not None
    assert job.KIND.row(finished, NOW)[:5] == ["web", "Complete", "1/1", "12s", "60s"]
    assert cronjob.KIND.row is not None
    assert cronjob.KIND.row(completed(cronjob.KIND, cron()), NOW)[:7] == [
        "web",
        "*/5 * * * *",
        "<none>",
        "False",
        0,
        "<none>",
        "60s",
    ]


def test_a_daemon_set_counts_its_templates() -> None:
    """`kubectl describe` shows the template's generation, which old clients count by."""
    counted = "deprecated.daemonset.template.generation"
    old = completed(daemonset.KIND, make(daemonset.KIND))
    assert meta.annotations(old)[counted] == "1"
    new = meta.copy(old)
    del new["metadata"]["annotations"]
    daemonset.KIND.prepare(new, old)
    assert meta.annotations(new)[counted] == "1"
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    daemonset.KIND.prepare(new, old)
    assert meta.annotations(new)[counted] == "2"
