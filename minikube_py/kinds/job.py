"""Job."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podrules, podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age, human_duration

__all__ = ["KIND", "condition", "default_spec", "spec_errors"]

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"


def prepare(job: Object, old: Object | None) -> None:
    """Give it the selector and template labels by which its pods are found, unless `manualSelector` is set."""
    if old is not None:
        return
    job["status"] = {}
    spec = job.setdefault("spec", {})
    uid = job["metadata"].get("uid")
    if spec.get("manualSelector") or not uid or not isinstance(spec.get("template"), dict):
        return
    name = meta.name(job)
    labels = spec["template"].setdefault("metadata", {}).get("labels") or {}
    ours = {CONTROLLER_UID: uid, JOB_NAME: name, "controller-uid": uid, "job-name": name}
    spec["template"]["metadata"]["labels"] = {**labels, **ours}
    spec.setdefault("selector", {"matchLabels": {CONTROLLER_UID: uid}})


def default(job: Object) -> None:
    spec = job.setdefault("spec", {})
    default_spec(spec)
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if not job["metadata"].get("labels") and template_labels:
        job["metadata"]["labels"] = dict(template_labels)


def default_spec(spec: dict[str, Any]) -> None:
    """Complete a JobSpec in place."""
    if isinstance(template := spec.get("template"), dict):
        podspec.default_template(template)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if not spec.get("completionMode"):
        spec["completionMode"] = "NonIndexed"
    if not spec.get("podReplacementPolicy"):
        spec["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for wanted in rule.get("onPodConditions") or ():
            if not wanted.get("status"):
                wanted["status"] = "True"


@rules.collected
def validate(job: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(job, old)
    spec = meta.spec(job)
    yield from spec_errors(spec, "spec")
    if spec.get("manualSelector") and not spec.get("selector"):
        yield errors.required("spec.selector")
    elif spec.get("selector") and spec.get("template") is not None:
        yield from rules.label_selector(spec["selector"], "spec.selector")
        yield from rules.selector_matches_template(spec)
    if old is not None:
        yield from _update(spec, meta.spec(old))


def spec_errors(spec: Mapping[str, Any], path: str) -> rules.Errors:
    """Check a JobSpec."""
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        yield from rules.non_negative(spec.get(key), f"{path}.{key}")
    mode = spec.get("completionMode")
    yield from rules.one_of(mode, f"{path}.completionMode", ("Indexed", "NonIndexed"))
    if mode == "Indexed" and spec.get("completions") is None:
        yield errors.required(f"{path}.completions", "when completion mode is Indexed")
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    yield from podrules.pod_template(spec, f"{path}.template", restart=("Always", "OnFailure", "Never"))
    if spec.get("template") is not None and policy == "Always":
        at = f"{path}.template.spec.restartPolicy"
        supported = ("Never",) if spec.get("podFailurePolicy") is not None else ("OnFailure", "Never")
        why = "valid values: " + ", ".join(f'"{value}"' for value in supported)
        yield errors.FieldError(at, "FieldValueRequired", f"Required value: {why}")
    yield from _policies(spec, path, str(policy or ""))


_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MANY_RULES = 20


def _policies(spec: Mapping[str, Any], path: str, restart: str) -> rules.Errors:
    """Check what says how a Job's pods may fail and when enough have succeeded."""
    indexed = spec.get("completionMode") == "Indexed"
    per_index, most = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    yield from rules.non_negative(per_index, f"{path}.backoffLimitPerIndex")
    yield from rules.non_negative(most, f"{path}.maxFailedIndexes")
    for key in ("backoffLimitPerIndex", "successPolicy"):
        if spec.get(key) is not None and not indexed:
            yield errors.invalid_value(f"{path}.{key}", spec[key], "requires indexed completion mode")
    if most is not None:
        if per_index is None:
            yield errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
        if most > (spec.get("completions") or most):
            why = "must be less than or equal to completions"
            yield errors.invalid_value(f"{path}.maxFailedIndexes", most, why)
    yield from rules.one_of(
        spec.get("podReplacementPolicy"), f"{path}.podReplacementPolicy", ("Failed", "TerminatingOrFailed")
    )
    if (owner := spec.get("managedBy")) is not None and "/" not in owner:
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield errors.invalid_value(f"{path}.managedBy", owner, why)
    if (policy := spec.get("podFailurePolicy")) is not None:
        if restart in ("Always", "OnFailure"):
            why = 'only "Never" is supported when podFailurePolicy is specified'
            yield errors.invalid_value(f"{path}.template.spec.restartPolicy", restart, why)
        if spec.get("podReplacementPolicy") == "TerminatingOrFailed":
            yield errors.not_supported(f"{path}.podReplacementPolicy", "TerminatingOrFailed", ("Failed",))
        yield from _failure_rules(
            policy.get("rules") or (), f"{path}.podFailurePolicy.rules", per_index=per_index is not None
        )
    if (policy := spec.get("successPolicy")) is not None:
        yield from _success_rules(policy.get("rules") or (), f"{path}.successPolicy.rules")


def _failure_rules(given: Sequence[Mapping[str, Any]], path: str, *, per_index: bool) -> rules.Errors:
    if len(given) > _MANY_RULES:
        yield errors.too_many(path, len(given), _MANY_RULES)
    for index, rule in enumerate(given):
        at = f"{path}[{index}]"
        action, codes, conditions = rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions")
        yield from rules.one_of(action, f"{at}.action", _ACTIONS, needed=True)
        if action == "FailIndex" and not per_index:
            yield errors.invalid_value(f"{at}.action", action, "requires the backoffLimitPerIndex to be set")
        if codes is None and not conditions:
            yield errors.invalid_value(at, "", "specifying one of OnExitCodes and OnPodConditions is required")
        elif codes is not None and conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield errors.invalid_value(at, "", why)
        elif codes is not None:
            yield from _exit_codes(codes, f"{at}.onExitCodes")


def _exit_codes(codes: Mapping[str, Any], path: str) -> rules.Errors:
    yield from rules.one_of(codes.get("operator"), f"{path}.operator", ("In", "NotIn"), needed=True)
    values = codes.get("values") or ()
    if not values:
        yield errors.invalid_value(f"{path}.values", "", "at least one value is required")
    elif codes.get("operator") == "In" and 0 in values:
        yield errors.invalid_value(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")


def _success_rules(given: Sequence[Mapping[str, Any]], path: str) -> rules.Errors:
    if not given:
        yield errors.required(path, "at least one rules must be specified when the successPolicy is specified")
    if len(given) > _MANY_RULES:
        yield errors.too_many(path, len(given), _MANY_RULES)
    for index, rule in enumerate(given):
        at = f"{path}[{index}]"
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            yield errors.required(at, "at least one of succeededCount or succeededIndexes must be specified")
        if rule.get("succeededCount") is not None and rule["succeededCount"] < 1:
            yield errors.invalid_value(f"{at}.succeededCount", rule["succeededCount"], rules.NOT_NEGATIVE)
        listed = rule.get("succeededIndexes") or ""
        if not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", listed):
            why = "error parsing succeededIndexes: cannot convert string to integer for index"
            yield errors.invalid_value(f"{at}.succeededIndexes", listed, why)


def _update(spec: Mapping[str, Any], was: Mapping[str, Any]) -> rules.Errors:
    suspended = bool(was.get("suspend"))
    if spec.get("completionMode") != "Indexed" or spec.get("completions") != spec.get("parallelism"):
        yield from rules.immutable(spec.get("completions"), was.get("completions"), "spec.completions")
    if spec.get("selector") != was.get("selector"):
        yield errors.invalid_value("spec.selector", GoText.selector(spec.get("selector")), rules.IMMUTABLE)
    before, after = was.get("template"), spec.get("template")
    if suspended and isinstance(before, dict) and isinstance(after, dict):
        before, after = _without_scheduling(before), _without_scheduling(after)
    if before != after:
        yield errors.invalid_value("spec.template", GoText("core.PodTemplateSpec{…}"), rules.IMMUTABLE)
    for key in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        yield from rules.immutable(spec.get(key), was.get(key), f"spec.{key}")


def _without_scheduling(template: Mapping[str, Any]) -> Object:
    """A suspended Job may still change where its pods will go."""
    pod = {
        key: value
        for key, value in (template.get("spec") or {}).items()
        if key not in ("nodeSelector", "tolerations", "affinity", "schedulingGates")
    }
    metadata = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    return {"metadata": metadata, "spec": pod}


def condition(job: Object, type_: str) -> bool:
    """Tell whether a condition (Complete, Failed, Suspended) holds."""
    found = meta.status(job).get("conditions") or ()
    return any(c.get("type") == type_ and c.get("status") == "True" for c in found)


def row(job: Object, now: float) -> list[Any]:
    spec, status = meta.spec(job), meta.status(job)
    succeeded = workload.count(status, "succeeded")
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    else:
        parallelism = int(spec.get("parallelism") or 0)
        completions = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    return [meta.name(job), _status(job), completions, _duration(job, now), age(job, now), *workload.wide_cells(job)]


def _status(job: Object) -> str:
    for type_, text in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Terminating", "Terminating"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if type_ == "Terminating":
            if meta.terminating(job):
                return text
        elif condition(job, type_):
            return text
    return "Running"


def _duration(job: Object, now: float) -> str:
    status = meta.status(job)
    if not status.get("startTime"):
        return ""
    started = timestamp(status["startTime"])
    if ended := status.get("completionTime"):
        return human_duration(timestamp(ended) - started)
    for found in status.get("conditions") or ():
        if found.get("type") == "Failed" and found.get("status") == "True" and found.get("lastTransitionTime"):
            return human_duration(timestamp(found["lastTransitionTime"]) - started)
    return human_duration(now - started)


KIND = Kind(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    singular="job",
    categories=("all",),
    subresources=(workload.status_of("Job", "batch"),),
    columns=(NAME, Column("Status"), Column("Completions"), Column("Duration"), AGE, *WIDE),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={"status.successful": lambda job: str(workload.count(meta.status(job), "succeeded"))},
    unsupported=podspec.unsupported("spec.template.spec"),
)
