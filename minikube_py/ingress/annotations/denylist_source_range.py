"""`denylist-source-range`: these client addresses get 403."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("denylist-source-range",)
PHASE = Phase.ACCESS


@dataclass(frozen=True, slots=True)
class DenySources:
    """Keeps these networks out."""

    phase: ClassVar[Phase] = Phase.ACCESS
    stateless: ClassVar[bool] = True
    networks: tuple[IPv4Network | IPv6Network, ...]

    def request(self, call: Call) -> Answer | None:
        address = ip_address(call.remote)
        for each in self.networks:
            if address in each:
                return Answer(403, f"annotation denylist-source-range: {call.remote} is in {each}")
        return None


def apply(draft: Draft) -> None:
    if networks := draft.networks("denylist-source-range"):
        draft.filters.append(DenySources(networks))
