"""CoreDNS' counters in Prometheus' text format. Pure.

Left out: request sizes, Go's own metrics.
Source: https://coredns.io/plugins/metrics/
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from minikube_py.cni.dnswire import TYPES
from minikube_py.coredns.querylog import ReplyInfo

__all__ = ["FIRST_BUCKET", "Metrics"]

FIRST_BUCKET = 0.00025
_DURATIONS = tuple(FIRST_BUCKET * 2**i for i in range(16))
"""Seconds; coremain's plugin.TimeBuckets: 0.25 ms … 8 s."""
_SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)
_KNOWN_TYPES = frozenset(TYPES) - {"OPT"}

_HELP = {
    "coredns_build_info": ("gauge", "A metric with a constant '1' value labeled by version."),
    "coredns_plugin_enabled": ("gauge", "A metric that indicates whether a plugin is enabled on per server, zone."),
    "coredns_dns_requests_total": ("counter", "Counter of DNS requests made per zone, protocol and family."),
    "coredns_dns_responses_total": ("counter", "Counter of response status codes."),
    "coredns_dns_request_duration_seconds": ("histogram", "Histogram of the time (in seconds) each request took."),
    "coredns_dns_response_size_bytes": ("histogram", "Size of the returned response in bytes."),
    "coredns_panics_total": ("counter", "A metrics that counts the number of panics."),
    "coredns_cache_entries": ("gauge", "The number of elements in the cache."),
    "coredns_cache_hits_total": ("counter", "The count of cache hits."),
    "coredns_cache_misses_total": ("counter", "The count of cache misses."),
    "coredns_forward_max_concurrent_rejects_total": ("counter", "Counter of queries rejected for too many at once."),
}


class _Labels(NamedTuple):
    """What replies are counted by: nothing that a client could make up without end."""

    zone: str
    type: str
    rcode: str
    plugin: str
    proto: str
    size: int
    """Index of the bucket."""


class Metrics:
    """What was answered, by the labels of CoreDNS."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._replies: Counter[_Labels] = Counter()
        self._seconds: dict[tuple[str, str], float] = {}
        """(zone, type) → seconds in all."""
        self._bytes: Counter[tuple[str, str]] = Counter()
        """(zone, proto) → bytes in all."""
        self._slow: Counter[tuple[str, str, int]] = Counter()
        """(zone, type, bucket) of replies beyond the first bucket of durations."""

    def add(self, info: ReplyInfo, count: int, seconds: float) -> None:
        """Count replies that took `seconds` together."""
        if count:
            kind = _type(info)
            bucket = next((i for i, limit in enumerate(_SIZES) if info.size <= limit), len(_SIZES))
            self._replies[_Labels(info.zone, kind, info.rcode, info.plugin, info.proto, bucket)] += count
            self._seconds[info.zone, kind] = self._seconds.get((info.zone, kind), 0.0) + seconds
            self._bytes[info.zone, info.proto] += info.size * count

    def slow(self, info: ReplyInfo, seconds: float) -> None:
        """Note a reply (counted by `add` as well) that took longer than the first bucket."""
        bucket = next((i for i, limit in enumerate(_DURATIONS) if seconds <= limit), len(_DURATIONS))
        self._slow[info.zone, _type(info), bucket] += 1

    def text(self, gauges: dict[str, float], enabled: Iterable[tuple[str, str]]) -> str:
        """Return the exposition; `gauges` by full name, `enabled` as (zone, plugin)."""
        server = self._server
        requests: Counter[str] = Counter()
        responses: Counter[str] = Counter()
        counts: Counter[tuple[str, str]] = Counter()
        sizes: Counter[tuple[str, str, int]] = Counter()
        for (zone, kind, rcode, plugin, proto, bucket), count in self._replies.items():
            where = f'server="{server}",'
            requests[f'{{family="1",proto="{proto}",{where}type="{kind}",view="",zone="{zone}"}}'] += count
            responses[f'{{plugin="{plugin}",rcode="{rcode}",{where}view="",zone="{zone}"}}'] += count
            counts[zone, kind] += count
            sizes[zone, proto, bucket] += count
        families: dict[str, list[str]] = {
            "coredns_build_info": ['{goversion="",revision="",version="minikube-py"} 1'],
            "coredns_plugin_enabled": [
                f'{{name="{name}",server="{server}",view="",zone="{zone}"}} 1' for zone, name in enabled
            ],
            "coredns_dns_requests_total": [f"{labels} {count}" for labels, count in sorted(requests.items())],
            "coredns_dns_responses_total": [f"{labels} {count}" for labels, count in sorted(responses.items())],
            "coredns_panics_total": [" 0"],
        }
        durations = families["coredns_dns_request_duration_seconds"] = []
        for (zone, kind), total in sorted(counts.items()):
            slow = [self._slow[zone, kind, i] for i in range(len(_DURATIONS) + 1)]
            buckets = [total - sum(slow), *slow[1:]]
            labels = f'server="{server}",type="{kind}",view="",zone="{zone}"'
            durations += _histogram(labels, _DURATIONS, buckets, self._seconds[zone, kind])
        size_lines = families["coredns_dns_response_size_bytes"] = []
        for (zone, proto), total in sorted(self._bytes.items()):
            buckets = [sizes[zone, proto, i] for i in range(len(_SIZES) + 1)]
            size_lines += _histogram(f'proto="{proto}",server="{server}",view="",zone="{zone}"', _SIZES, buckets, total)
        for name, value in gauges.items():
            families[name] = [f" {value:g}"]
        text = []
        for name, lines in families.items():
            kind, help_ = _HELP.get(name, ("gauge", ""))
            text += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}", *(f"{name}{line}" for line in lines)]
        return "\n".join(text) + "\n"


def _type(info: ReplyInfo) -> str:
    return info.question.type if info.question.type in _KNOWN_TYPES else "other"


def _histogram(labels: str, limits: Iterable[float], buckets: list[int], total: float) -> list[str]:
    lines, running = [], 0
    for limit, count in zip(limits, buckets, strict=False):
        running += count
        lines.append(f'_bucket{{{labels},le="{limit:g}"}} {running}')
    running = sum(buckets)
    return [
        *lines,
        f'_bucket{{{labels},le="+Inf"}} {running}',
        f"_sum{{{labels}}} {total:g}",
        f"_count{{{labels}}} {running}",
    ]
