"""Cron schedules: five fields, names, steps, `@hourly` and friends, `@every 90s`.

Stands for robfig/cron's standard parser, which Kubernetes uses.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import Struct

__all__ = ["Schedule", "parse"]

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6},
    **{"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_EVERY = re.compile(r"(\d+(?:\.\d+)?)(h|m|s|ms)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Schedule(Struct, frozen=True):
    """A compiled schedule."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    """Day of month was `*`: then only the weekday decides, and the other way round; else either may match."""
    any_weekday: bool
    zone: tzinfo
    every: float = 0.0
    """Seconds between runs for `@every`; 0: the fields count."""

    def _day_matches(self, moment: datetime) -> bool:
        day = moment.day in self.days
        weekday = (moment.weekday() + 1) % 7 in self.weekdays
        return day and weekday if self.any_day or self.any_weekday else day or weekday

    def next(self, after: float) -> float | None:
        """Return the first moment after `after` (seconds since the epoch); None if there is none within five years."""
        if self.every:
            return after + self.every - after % 1
        moment = datetime.fromtimestamp(after, UTC).astimezone(self.zone).replace(second=0, microsecond=0)
        moment = _later(moment, timedelta(minutes=1))
        limit = moment.year + 5
        while moment.year <= limit:
            if moment.month not in self.months:
                first = moment.replace(day=1, hour=0, minute=0)
                moment = (first + timedelta(days=32)).replace(day=1)
            elif not self._day_matches(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = _later(moment.replace(minute=0), timedelta(hours=1))
            elif moment.minute not in self.minutes:
                moment = _later(moment, timedelta(minutes=1))
            else:
                return moment.timestamp()
        return None


def _later(moment: datetime, step: timedelta) -> datetime:
    """Add real time, so that clock changes neither loop nor run twice."""
    return (moment.astimezone(UTC) + step).astimezone(moment.tzinfo)


def parse(text: str, zone: str | None = None) -> Schedule:
    """Compile a schedule in a time zone (an IANA name; None: UTC, or `CRON_TZ=`/`TZ=` in the text).

    Error handling: ValueError naming the field, its value and its range.
    """
    text = text.strip()
    if text.startswith(("TZ=", "CRON_TZ=")):
        given, _, text = text.partition(" ")
        zone = zone or given.partition("=")[2]
        text = text.strip()
    tz = _zone(zone)
    everything = frozenset[int]()
    if text.startswith("@every "):
        seconds = _duration(text.removeprefix("@every ").strip())
        return Schedule(everything, everything, everything, everything, everything, True, True, tz, max(seconds, 1.0))
    if text.startswith("@"):
        if text not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _MACROS[text]
    parts = text.split()
    if len(parts) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{text}]")
    sets = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    starred = [part[0] in "*?" for part in parts]
    return Schedule(sets[0], sets[1], sets[2], sets[3], sets[4], starred[2], starred[4], tz)


def _zone(name: str | None) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {name}") from None


def _duration(text: str) -> float:
    if not _EVERY.match(text) or _EVERY.sub("", text):
        raise ValueError(f'time: invalid duration "{text}"')
    return sum(float(number) * _SECONDS[unit] for number, unit in _EVERY.findall(text))


def _field(text: str, what: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        if slash and (not step_text.isdigit() or step_text == "0"):
            raise ValueError(f"step of {what} must be a positive number: {part}")
        step = int(step_text) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, what, names)
            last = _number(end, what, names) if dash else (high if slash else first)
        if what == "day of week":  # 7 is Sunday too, for those who are used to it
            if first == 7 == last:
                first = last = 0
            elif last == 7:
                found.add(0)
                last = 6
        if first < low or last > high or first > last:
            raise ValueError(f"{what} out of range ({low}-{high}): {part}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, what: str, names: dict[str, int]) -> int:
    if text.isdigit():
        return int(text)
    if text.lower() in names:
        return names[text.lower()]
    raise ValueError(f"failed to parse {what}: {text!r}")
