"""kube-scheduler: gives each pod a node, or says why there is none.

    pods.py, nodes.py   what a pod asks for; what a node has, and the tallies of what is taken
    filters.py          may the pod run there? one function per plugin of kube-scheduler, each with its words
    scores.py           which of those is best?
    preemption.py       if none: which pods have to make room?
    choose.py           choose(pod, nodes) -> Binding | Preemption(victims) | Unschedulable(reasons): the pure core
    ranking.py          what was found out for one pod, for the next of the same template
    agent.py            watches, binds, records events

A new rule is one function in `filters.py` (or `scores.py`) and a row in its list there.
"""

from minikube_py.scheduler.agent import Scheduler
from minikube_py.scheduler.choose import Binding, Preemption, Unschedulable, choose

__all__ = ["Binding", "Preemption", "Scheduler", "Unschedulable", "choose"]
