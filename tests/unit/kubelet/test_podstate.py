"""The life of a pod, played event by event."""

from typing import Any

import pytest

from minikube_py.kubelet.podactions import (
    Begin,
    Emit,
    Event,
    Exited,
    Kill,
    KillPod,
    PodChanged,
    Probed,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Terminate,
    Tick,
)
from minikube_py.kubelet.podstate import PodState
from minikube_py.kubelet.probes import ProbeKind

NOW = 1_700_000_000.0


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, Any]:
    """Return a pod; a container without fields is `{"name": "main", "image": "acme"}`."""
    made = [{"name": "main", "image": "acme", **c} for c in containers or ({},)]
    return {
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u-1"},
        "spec": {"containers": made, "initContainers": [{"image": "acme", **c} for c in init], **spec},
    }


class Play:
    """Plays a pod's life: `at` moves the time, `tell` hands over an event."""

    def __init__(self, pod: dict[str, Any], *, begin: bool = True) -> None:
        self.state = PodState(pod)
        self.now = NOW
        self.starts: list[str] = []
        self.events: list[str] = []
        self.kills: list[str] = []
        self.probes: list[str] = []
        if begin:
            self.tell(Begin("10.244.1.5", "172.18.0.3"))

    def tell(self, event: Event) -> None:
        for command in self.state.handle(event, self.now):
            match command:
                case Start(name, attempt):
                    self.starts.append(f"{name}/{attempt}")
                case Emit(_, reason, _):
                    self.events.append(reason)
                case Kill(name):
                    self.kills.append(name)
                case KillPod():
                    self.kills.append("pod")
                case RunProbe(name, kind):
                    self.probes.append(f"{name} {kind.word}")

    def deadline(self) -> float | None:
        due = self.state.deadline()
        return None if due is None else due - NOW

    def pass_time(self, seconds: float) -> None:
        """Let time pass, ticking at each deadline on the way."""
        until = self.now + seconds
        while (due := self.state.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.tell(Tick())
            if self.state.deadline() == due:
                break
        self.now = until

    def wait(self) -> None:
        """Let time pass until something is due."""
        if (due := self.state.deadline()) is not None:
            self.pass_time(max(due - self.now, 0.0))

    @property
    def status(self) -> dict[str, Any]:
        return self.state.status(self.now)

    def condition(self, kind: str) -> str:
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return f"{found['status']} {found.get('reason', '')}".strip()

    def container(self, name: str = "main") -> dict[str, Any]:
        groups = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        return next(s for g in groups for s in self.status.get(g, ()) if s["name"] == name)

    def crash(self, code: int = 1, name: str = "main") -> None:
        self.tell(Started(name))
        self.tell(Exited(name, code))


def test_pod_runs() -> None:
    """A pod whose container is up is Running and Ready with its address."""
    play = Play(pod())
    assert (play.starts, play.status["phase"]) == (["main/0"], "Pending")
    assert play.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    play.tell(Started("main"))
    assert (play.status["phase"], play.status["podIP"], play.status["hostIP"]) == (
        *("Running", "10.244.1.5", "172.18.0.3"),
    )
    assert [play.condition(c) for c in ("Ready", "ContainersReady", "Initialized", "PodScheduled")] == ["True"] * 4
    assert play.events == []
    assert play.container()["image"] == "docker.io/library/acme:latest"


@pytest.mark.parametrize(
    ("policy", "code", "phase", "restarts"),
    [
        pytest.param("Always", 0, "Running", 1, id="Always restarts success"),
        pytest.param("Always", 1, "Running", 1, id="Always restarts failure"),
        pytest.param("OnFailure", 0, "Succeeded", 0, id="OnFailure leaves success"),
        pytest.param("OnFailure", 1, "Running", 1, id="OnFailure restarts failure"),
        pytest.param("Never", 0, "Succeeded", 0, id="Never succeeds"),
        pytest.param("Never", 3, "Failed", 0, id="Never fails"),
    ],
)
def test_restart_policy(policy: str, code: int, phase: str, restarts: int) -> None:
    """The restart policy decides what an exit means."""
    play = Play(pod(restartPolicy=policy))
    play.crash(code)
    assert (play.status["phase"], play.container()["restartCount"]) == (phase, restarts)
    if not restarts:
        terminated = play.container()["state"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (code, "Completed" if code == 0 else "Error")
        assert play.condition("Ready") == f"False Pod{'Completed' if code == 0 else 'Failed'}"


def test_crash_loop_back_off() -> None:
    """Crashes are answered at once, then after 10, 20, 40, … 300 seconds."""
    play = Play(pod())
    waits = []
    for _ in range(8):
        play.crash()
        due = play.state.deadline()
        waits.append(0 if due is None else round(due - play.now))
        if due is not None:
            assert play.container()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            play.pass_time(due - play.now)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert play.container()["restartCount"] == 8
    assert play.events.count("BackOff") == 7


def test_crash_loop_message_and_last_state() -> None:
    """A back-off shows how the last run ended and how long it waits."""
    play = Play(pod())
    play.crash()
    play.crash(7)
    status = play.container()
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["state"]["waiting"]["message"] == (
        "back-off 10s restarting failed container=main pod=web-0_shop(u-1)"
    )
    assert play.status["phase"] == "Running"


def test_back_off_is_forgotten_after_ten_minutes() -> None:
    """A container that ran for more than ten minutes is restarted at once again."""
    play = Play(pod())
    for _ in range(2):
        play.crash()
    play.pass_time(10)
    play.tell(Started("main"))
    play.pass_time(601)
    play.tell(Exited("main", 1))
    assert play.starts[-1] == "main/3"


def test_init_containers_run_in_order() -> None:
    """Init containers run one after another; the main ones start when all have succeeded."""
    play = Play(pod(init=({"name": "a"}, {"name": "b"})))
    assert play.starts == ["a/0"]
    assert play.condition("Initialized") == "False ContainersNotInitialized"
    assert play.container()["state"]["waiting"]["reason"] == "PodInitializing"
    play.crash(0, "a")
    assert play.starts == ["a/0", "b/0"]
    play.crash(0, "b")
    assert play.starts == ["a/0", "b/0", "main/0"]
    assert play.condition("Initialized") == "True"
    assert play.container("a")["ready"]


def test_failing_init_container_is_retried() -> None:
    """A failing init container holds the others back and is retried with back-off."""
    play = Play(pod(init=({"name": "a"},)))
    play.crash(1, "a")
    play.crash(1, "a")
    assert (play.starts, play.deadline()) == (["a/0", "a/1"], 10)
    assert play.status["phase"] == "Pending"
    play.pass_time(10)
    play.crash(0, "a")
    assert play.starts[-1] == "main/0"


def test_failing_init_container_fails_a_pod_that_never_restarts() -> None:
    """With restartPolicy Never a failed init container fails the pod."""
    play = Play(pod(init=({"name": "a"},), restartPolicy="Never"))
    play.crash(1, "a")
    assert (play.status["phase"], play.starts) == ("Failed", ["a/0"])


def test_sidecar() -> None:
    """A sidecar only has to start before the next container, and ends after the main ones."""
    play = Play(pod(init=({"name": "side", "restartPolicy": "Always"}, {"name": "a"}), restartPolicy="Never"))
    assert play.starts == ["side/0"]
    play.tell(Started("side"))
    assert play.starts == ["side/0", "a/0"]
    play.crash(0, "a")
    play.tell(Started("main"))
    play.tell(Exited("main", 0))
    assert play.kills == ["pod"]
    play.tell(Exited("side", 143))
    assert play.status["phase"] == "Succeeded"


def test_a_sidecar_holds_the_next_one_back_until_it_has_started() -> None:
    """Its startup probe decides; a crash before that holds on, a crash afterwards holds nobody back."""
    side = {"name": "side", "restartPolicy": "Always", "startupProbe": {"periodSeconds": 1}}
    play = Play(pod({}, init=(side,)))
    play.tell(Started("side"))
    play.tell(Exited("side", 1))
    assert play.starts == ["side/0", "side/1"]
    play.tell(Started("side"))
    play.tell(Probed("side", ProbeKind.STARTUP, True, attempt=1))
    assert play.starts[-1] == "main/0"
    assert play.condition("Initialized") == "True"
    play.tell(Started("main"))
    play.tell(Exited("side", 1))
    play.tell(Exited("main", 1))
    assert (play.starts[-1], play.status["phase"]) == ("main/1", "Running")
    assert play.condition("Initialized") == "True"


def test_a_failed_init_container_takes_the_sidecar_along() -> None:
    """The pod is Failed once the sidecar, which nobody needs any more, has ended too."""
    play = Play(pod(init=({"name": "side", "restartPolicy": "Always"}, {"name": "a"}), restartPolicy="Never"))
    play.tell(Started("side"))
    play.crash(1, "a")
    assert (play.kills, play.status["phase"]) == (["pod"], "Pending")
    play.tell(Exited("side", 137))
    assert (play.starts, play.status["phase"]) == (["side/0", "a/0"], "Failed")


def test_containers_start_one_by_one_past_post_start_hooks() -> None:
    """A container with a postStart hook holds the next one back until the hook is done."""
    hook = {"lifecycle": {"postStart": {"sleep": {"seconds": 1}}}}
    play = Play(pod({**hook}, {"name": "b"}, {"name": "c"}))
    assert play.starts == ["main/0"]
    play.tell(Started("main"))
    assert play.starts == ["main/0", "b/0", "c/0"]


def test_probes_without_an_answer_count_as_nothing() -> None:
    """Neither success nor failure, but an event; a warning goes with a success."""
    play = Play(pod({"livenessProbe": {"failureThreshold": 1}}))
    play.tell(Started("main"))
    play.pass_time(0)
    play.tell(Probed("main", ProbeKind.LIVENESS, None, "rpc error"))
    assert (play.kills, play.events, play.deadline()) == ([], ["Unhealthy"], 10)
    play.pass_time(10)
    play.tell(Probed("main", ProbeKind.LIVENESS, True, "Probe terminated redirects"))
    assert (play.kills, play.events) == ([], ["Unhealthy", "ProbeWarning"])


def test_a_probe_may_have_its_own_grace_period() -> None:
    """A failed liveness probe's terminationGracePeriodSeconds goes with the kill."""
    state = PodState(pod({"livenessProbe": {"failureThreshold": 1, "terminationGracePeriodSeconds": 3}}))
    for event in (Begin("10.244.1.5", "172.18.0.3"), Started("main"), Tick()):
        state.handle(event, NOW)
    commands = state.handle(Probed("main", ProbeKind.LIVENESS, False, "no"), NOW)
    assert Kill("main", 3.0) in commands


def test_readiness_goes_on_while_the_pod_ends() -> None:
    """Liveness doesn't: nothing restarts any more, and no deadline stays that nobody answers."""
    play = Play(pod({"readinessProbe": {"periodSeconds": 5, "failureThreshold": 1}, "livenessProbe": {}}))
    play.tell(Started("main"))
    play.pass_time(0)
    play.tell(Probed("main", ProbeKind.READINESS, True))
    play.tell(Probed("main", ProbeKind.LIVENESS, True))
    play.tell(Terminate())
    play.probes.clear()
    for _ in range(3):
        play.wait()
        play.tell(Probed("main", ProbeKind.READINESS, False, "no"))
    assert (play.probes, play.condition("Ready")) == (["main Readiness"] * 3, "False ContainersNotReady")
    play.tell(Exited("main", 0))
    assert play.state.deadline() is None


def test_a_probe_that_changes_nothing_costs_no_status() -> None:
    """The revision grows with what may have changed the status, and not with the same answer as before."""
    play = Play(pod({"readinessProbe": {}}))
    play.tell(Started("main"))
    play.pass_time(0)
    before = play.state.revision
    play.tell(Probed("main", ProbeKind.READINESS, True))
    assert play.state.revision == before + 1
    play.pass_time(10)
    play.tell(Probed("main", ProbeKind.READINESS, True))
    assert play.state.revision == before + 1


@pytest.mark.parametrize(
    ("crashes", "delay"), [(2, "10s"), (3, "20s"), (4, "40s"), (5, "1m20s"), (6, "2m40s"), (7, "5m0s"), (9, "5m0s")]
)
def test_back_off_message(crashes: int, delay: str) -> None:
    """The message is the kubelet's, with Go's way to write a duration."""
    play = Play(pod())
    for _ in range(crashes):
        play.wait()
        play.crash(1)
    assert play.container()["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": f"back-off {delay} restarting failed container=main pod=web-0_shop(u-1)",
    }


def test_conditions_are_in_the_kubelets_order() -> None:
    """Others' conditions come before its own."""
    gated = pod(readinessGates=[{"conditionType": "acme.com/lb"}])
    play = Play({**gated, "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}})
    play.tell(PodChanged({**gated, "status": {"conditions": [{"type": "acme.com/lb", "status": "True"}]}}))
    assert [condition["type"] for condition in play.status["conditions"]] == [
        "acme.com/lb",
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]


def test_two_containers_are_ready_together() -> None:
    """A pod is ready when all its containers are."""
    play = Play(pod({}, {"name": "other"}))
    play.tell(Started("main"))
    assert (play.status["phase"], play.condition("Ready")) == ("Pending", "False ContainersNotReady")
    play.tell(Started("other"))
    assert (play.status["phase"], play.condition("Ready")) == ("Running", "True")


def test_readiness_probe() -> None:
    """Readiness needs its probe's successes, and failures in a row take it back."""
    play = Play(pod({"readinessProbe": {"periodSeconds": 5, "failureThreshold": 2, "initialDelaySeconds": 3}}))
    play.tell(Started("main"))
    assert (play.condition("Ready"), play.deadline()) == ("False ContainersNotReady", 3)
    play.pass_time(3)
    assert play.probes == ["main Readiness"]
    play.tell(Probed("main", ProbeKind.READINESS, True))
    assert (play.condition("Ready"), play.deadline()) == ("True", 8)
    play.pass_time(5)
    play.tell(Probed("main", ProbeKind.READINESS, False, "no"))
    assert play.condition("Ready") == "True"
    play.pass_time(5)
    play.tell(Probed("main", ProbeKind.READINESS, False, "no"))
    assert play.condition("Ready") == "False ContainersNotReady"
    assert play.events.count("Unhealthy") == 2
    assert play.kills == []


def test_liveness_probe_restarts() -> None:
    """Failures in a row of the liveness probe end the container, which then is restarted."""
    play = Play(pod({"livenessProbe": {"failureThreshold": 2}}))
    play.tell(Started("main"))
    for _ in range(2):
        play.pass_time(10)
        play.tell(Probed("main", ProbeKind.LIVENESS, False, "HTTP probe failed with statuscode: 500"))
    assert play.kills == ["main"]
    play.tell(Exited("main", 137))
    assert (play.starts, play.container()["restartCount"]) == (["main/0", "main/1"], 1)


def test_startup_probe_goes_first() -> None:
    """Until the startup probe succeeds no other probe runs and the container isn't started."""
    play = Play(pod({"startupProbe": {"periodSeconds": 2}, "livenessProbe": {}, "readinessProbe": {}}))
    play.tell(Started("main"))
    play.pass_time(0)
    assert (play.probes, play.container()["started"]) == (["main Startup"], False)
    play.tell(Probed("main", ProbeKind.STARTUP, False, "no"))
    play.pass_time(2)
    assert play.probes == ["main Startup", "main Startup"]
    play.tell(Probed("main", ProbeKind.STARTUP, True))
    assert play.container()["started"]
    assert play.probes[2:] == ["main Readiness", "main Liveness"]


def test_startup_probe_that_fails_restarts() -> None:
    """A startup probe that fails for good ends the container."""
    play = Play(pod({"startupProbe": {"periodSeconds": 1, "failureThreshold": 2}}))
    play.tell(Started("main"))
    for _ in range(2):
        play.pass_time(1)
        play.tell(Probed("main", ProbeKind.STARTUP, False, "no"))
    assert play.kills == ["main"]


def test_late_probe_result_is_dropped() -> None:
    """A result about an instance that has been restarted says nothing about its successor."""
    play = Play(pod({"readinessProbe": {}}))
    play.tell(Started("main"))
    play.tell(Exited("main", 1))
    play.tell(Started("main"))
    play.tell(Probed("main", ProbeKind.READINESS, True, attempt=0))
    assert play.condition("Ready") == "False ContainersNotReady"


def test_absent_image() -> None:
    """An image that can't be pulled is ErrImagePull, then ImagePullBackOff, and tried again after 10 and 20 seconds."""
    play = Play(pod({"image": "gone"}))
    play.tell(StartFailed("main", "ErrImagePull", "not found"))
    assert play.container()["state"]["waiting"] == {"reason": "ErrImagePull", "message": "not found"}
    play.pass_time(1)
    assert play.container()["state"]["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "gone": ErrImagePull: not found',
    }
    play.pass_time(9)
    assert play.starts == ["main/0", "main/0"]
    play.tell(StartFailed("main", "ErrImagePull", "not found"))
    play.pass_time(19)
    assert len(play.starts) == 2
    play.pass_time(1)
    assert (len(play.starts), play.status["phase"]) == (3, "Pending")


@pytest.mark.parametrize(
    ("reason", "events"),
    [
        ("ErrImagePull", ['Failed: Failed to pull image "acme": no', "Failed: Error: ErrImagePull"]),
        ("ErrImageNeverPull", ["ErrImageNeverPull: no", "Failed: Error: ErrImageNeverPull"]),
        ("InvalidImageName", ["InspectFailed: no", "Failed: Error: InvalidImageName"]),
        ("CreateContainerConfigError", ["Failed: Error: no"]),
    ],
)
def test_events_of_a_start_that_failed(reason: str, events: list[str]) -> None:
    """One says what is wrong, a second one what that is called; for a configuration both are one."""
    state = PodState(pod())
    state.handle(Begin("10.244.1.5", "172.18.0.3"), NOW)
    commands = state.handle(StartFailed("main", reason, "no"), NOW)
    assert [f"{c.reason}: {c.message}" for c in commands if isinstance(c, Emit)] == events


def test_config_error_is_looked_at_again() -> None:
    """A missing ConfigMap keeps the container waiting until it is there."""
    play = Play(pod())
    play.tell(StartFailed("main", "CreateContainerConfigError", 'configmap "a" not found'))
    assert play.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    play.pass_time(1)
    assert play.starts == ["main/0", "main/0"]


def test_readiness_gate() -> None:
    """A readiness gate holds Ready back until its condition is true."""
    gated = pod(readinessGates=[{"conditionType": "acme.com/lb"}])
    play = Play(gated)
    play.tell(Started("main"))
    assert (play.condition("Ready"), play.condition("ContainersReady")) == ("False ReadinessGatesNotReady", "True")
    gated = {**gated, "status": {"conditions": [{"type": "acme.com/lb", "status": "True"}]}}
    play.tell(PodChanged(gated))
    assert play.condition("Ready") == "True"


def test_terminate_stops_restarts() -> None:
    """After Terminate an exit is final."""
    play = Play(pod())
    play.tell(Started("main"))
    play.tell(Terminate())
    play.tell(Exited("main", 143))
    assert (play.starts, play.state.deadline(), play.status["phase"]) == (["main/0"], None, "Failed")


def test_active_deadline() -> None:
    """A pod past its activeDeadlineSeconds fails with DeadlineExceeded."""
    play = Play(pod(activeDeadlineSeconds=30))
    play.tell(Started("main"))
    play.pass_time(30)
    assert play.kills == ["pod"]
    play.tell(Exited("main", 137))
    assert (play.status["phase"], play.status["reason"]) == ("Failed", "DeadlineExceeded")


def test_ephemeral_container_is_added() -> None:
    """kubectl debug adds a container to a running pod without touching the others."""
    running = pod()
    play = Play(running)
    play.tell(Started("main"))
    spec = {**running["spec"], "ephemeralContainers": [{"name": "debug", "image": "busybox"}]}
    play.tell(PodChanged({**running, "spec": spec}))
    assert play.starts == ["main/0", "debug/0"]
    play.tell(Started("debug"))
    play.tell(Exited("debug", 0))
    assert (play.condition("Ready"), play.starts) == ("True", ["main/0", "debug/0"])


def test_conditions_keep_the_time_of_their_change() -> None:
    """lastTransitionTime moves only when the status does."""
    play = Play(pod({}, {"name": "other"}))
    before = next(c for c in play.status["conditions"] if c["type"] == "Ready")["lastTransitionTime"]
    play.now += 5
    play.tell(Started("main"))
    assert next(c for c in play.status["conditions"] if c["type"] == "Ready")["lastTransitionTime"] == before
    play.tell(Started("other"))
    assert next(c for c in play.status["conditions"] if c["type"] == "Ready")["lastTransitionTime"] != before
