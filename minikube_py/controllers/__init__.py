"""kube-controller-manager: one controller = one file, all of them in one list (`start.reconcilers`).

To add a controller, write `controllers/<singular>.py` with one `@final` class:

    class ThingController:
        name = "thing-controller"                      # the component in `kubectl describe`'s events

        @property
        def watches(self):                             # which commits make which keys dirty
            return {"things.example.org": lambda event, view: (event.key,), "pods": self._pod}

        def reconcile(self, key, view, now):           # pure: what is → what to do about it
            thing = view.get("things.example.org", key.name, key.namespace)
            ...
            return [Create(pod, about=thing, created="Created pod: {name}"), UpdateStatus({**thing, "status": status})]

and add it to `start.py`. The rules that keep controllers small and fast:

1. Level, not edge: `reconcile` looks at the world as it is and may be called at any time; doing it twice does nothing.
2. Never mutate what `view` returns; build new dicts that share the unchanged parts (`{**obj, "status": status}`).
3. Reads are consistent with writes (everything is in one process), so there are no expectations or stale caches.
4. Write a status only when it differs. Let an `Update` carry its resourceVersion: a lost race is retried.
5. For a change that merely counts (the 700th pod became ready) yield `Soon(key)` instead of the key.
6. Use `view.owned_by(uid)` and selectors with `key=value` terms: both are indexed. No walk over all pods per pod.
7. Chance, clocks, pools and paths are constructor arguments. Time is `now`; a later look is `Requeue(seconds)`.

What they share: `pods.py` (readiness, adoption, who goes first), `census.py` (the pods of each controller, counted),
`revisions.py` (history and hashes), `rollout.py` (the arithmetic of a rolling update), `endpoint.py` (what stands
behind a Service), `membership.py` (whose selectors match), `intstr.py`. What one of them decides in a file of its own:
`cron.py`, `jobpolicy.py` and `indexes.py`, `autoscalermetrics.py` and `scalebehavior.py`.
"""
