"""`whitelist-source-range` (also `allowlist-source-range`): other client addresses get 403."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("whitelist-source-range", "allowlist-source-range")
PHASE = Phase.ACCESS


@dataclass(frozen=True, slots=True)
class AllowSources:
    """Lets only these networks in."""

    phase: ClassVar[Phase] = Phase.ACCESS
    stateless: ClassVar[bool] = True
    annotation: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    def request(self, call: Call) -> Answer | None:
        address = ip_address(call.remote)
        if any(address in each for each in self.networks):
            return None
        return Answer(403, f"annotation {self.annotation}: {call.remote} is in none of its networks")


def apply(draft: Draft) -> None:
    for name in NAMES:
        if name in draft.values:
            if networks := draft.networks(name):
                draft.filters.append(AllowSources(name, networks))
            return
