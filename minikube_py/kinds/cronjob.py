"""CronJob."""

import re
import zoneinfo
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import job, podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age, containers_and_images, label_selector_cell, since

__all__ = ["KIND"]


def default(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("successfulJobsHistoryLimit") is None:
        spec["successfulJobsHistoryLimit"] = 3
    if spec.get("failedJobsHistoryLimit") is None:
        spec["failedJobsHistoryLimit"] = 1
    template = (spec.get("jobTemplate") or {}).get("spec")
    if isinstance(template, dict) and isinstance(template.get("template"), dict):
        podspec.default_template(template["template"])


@rules.collected
def validate(cron_job: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(cron_job, old)
    if old is None and len(meta.name(cron_job)) > 52:
        yield errors.invalid_value("metadata.name", meta.name(cron_job), "must be no more than 52 characters")
    spec = meta.spec(cron_job)
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield errors.required("spec.schedule")
    elif why := schedule_error(schedule):
        yield errors.invalid_value("spec.schedule", schedule, why)
    if zone := spec.get("timeZone"):
        yield from _time_zone(zone)
    if "TZ" in schedule and spec.get("timeZone"):
        why = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        yield errors.invalid_value("spec.timeZone", spec["timeZone"], why)
    yield from rules.one_of(
        spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace"), needed=True
    )
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from rules.non_negative(spec.get(key), f"spec.{key}")
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    yield from job.spec_errors(job_spec, "spec.jobTemplate.spec")
    if job_spec.get("manualSelector"):
        supported = ("nil", "false")
        yield errors.not_supported("spec.jobTemplate.spec.manualSelector", True, supported)
    for why in names.label_value_errors(meta.name(cron_job)[:52]) if meta.name(cron_job) else ():
        yield errors.invalid_value("metadata.name", meta.name(cron_job), why)


def _time_zone(zone: str) -> rules.Errors:
    if zone.lower() == "local":
        yield errors.invalid_value(
            "spec.timeZone",
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield errors.invalid_value("spec.timeZone", zone, f"unknown time zone {zone}")


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BOUNDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_error(schedule: str) -> str | None:
    """Return what robfig/cron, which the real controller uses, has against a schedule."""
    text = re.sub(r"^(?:CRON_)?TZ=\S+\s+", "", schedule).strip()
    if text.startswith("@every "):
        return (
            None
            if re.fullmatch(r"(?:\d+(?:\.\d+)?(?:h|m|s|ms|us|ns))+", text[7:])
            else f"failed to parse duration {text}"
        )
    if text.startswith("@"):
        return None if text in _MACROS else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high, words) in zip(fields, _BOUNDS, strict=True):
        for part in field.split(","):
            if why := _part_error(part, low, high, words):
                return why
    return None


def _part_error(part: str, low: int, high: int, words: tuple[str, ...]) -> str | None:
    span, slash, step = part.partition("/")
    if slash and not step.isdigit():
        return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
    if slash and int(step) == 0:
        return f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return None
    numbers = []
    for text in span.split("-"):
        if text.lower() in words:
            numbers.append(words.index(text.lower()) + low)
        elif text.isdigit():
            numbers.append(int(text))
        else:
            return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
    if len(numbers) > 2:
        return f"too many hyphens: {part}"
    if numbers[0] < low:
        return f"beginning of range ({numbers[0]}) below minimum ({low}): {part}"
    if numbers[-1] > high:
        return f"end of range ({numbers[-1]}) above maximum ({high}): {part}"
    if numbers[0] > numbers[-1]:
        return f"beginning of range ({numbers[0]}) beyond end of range ({numbers[-1]}): {part}"
    return None


def row(cron_job: Object, now: float) -> list[Any]:
    spec, status = meta.spec(cron_job), meta.status(cron_job)
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    pod = (job_spec.get("template") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        meta.name(cron_job),
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        str(bool(spec.get("suspend"))),
        len(status.get("active") or ()),
        since(last, now) if last else "<none>",
        age(cron_job, now),
        *containers_and_images(pod),
        label_selector_cell(job_spec.get("selector")),
    ]


KIND = Kind(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    singular="cronjob",
    short_names=("cj",),
    categories=("all",),
    subresources=(workload.status_of("CronJob", "batch"),),
    columns=(
        NAME,
        Column("Schedule"),
        Column("Timezone"),
        Column("Suspend", "boolean"),
        Column("Active", "integer"),
        Column("Last Schedule"),
        AGE,
        *WIDE,
    ),
    row=row,
    prepare=workload.reset_status,
    default=default,
    validate=validate,
    unsupported=podspec.unsupported("spec.jobTemplate.spec.template.spec"),
)
