"""Nothing a script starts outlives it, and nothing it does stops others: jobs, signals, endless input."""

import asyncio
import time

import pytest

from .boxes import Box


async def _ends(script: str) -> int:
    """Run a script as the main process, send SIGTERM once it is at it; return the exit code."""
    before = asyncio.all_tasks()
    box = Box()
    running = asyncio.ensure_future(box.main("sh", "-c", f"echo up; {script}"))
    while not box.log:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    box.container.terminated.set()
    code: int = await asyncio.wait_for(running, 5)
    assert asyncio.all_tasks() == before
    return code


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100 & sleep 100",
        "(sleep 100 & sleep 100)",
        "(sleep 100 &); sleep 100",
        "x=$(sleep 100 & sleep 100)",
        "sleep 100 | (sleep 100 & sleep 100)",
        "{ sleep 100 & sleep 100; } & wait",
        "f() { sleep 100 & wait; }; f",
        "sh -c 'sleep 100 & sleep 100'",
        "timeout 100 sleep 100",
        "echo 100 | xargs sleep",
    ],
)
async def test_sigterm_ends_jobs_at_any_depth(script: str) -> None:
    """No background job, in whatever subshell it was started, keeps a container from ending, or survives it."""
    assert await _ends(script) == 143


@pytest.mark.parametrize(
    "script",
    [
        "yes > /dev/null",
        "yes | cat > /dev/null",
        "dd if=/dev/zero of=/dev/null",
        "cat /dev/urandom > /dev/null",
        "wc -c < /dev/zero",
        "grep x /dev/zero",
        "read x < /dev/zero",
        "while :; do :; done",
        "until false; do continue; done",
    ],
)
async def test_endless_work_lets_others_run(script: str) -> None:
    """The event loop goes on beside a tool that never waits for anything, and SIGTERM reaches it."""
    assert await _ends(script) == 143


async def test_a_subshell_leaves_its_jobs_behind() -> None:
    """`(job &)` returns at once, as in a real shell; the job goes on until its session ends."""
    begun = time.monotonic()
    result = await Box().sh("(sleep 100 &); { sleep 100 & } & wait; echo at once; ps | grep -c ' sleep 100$'")
    assert time.monotonic() - begun < 5
    assert result.out == "at once\n2\n"


async def test_a_substitution_waits_for_whoever_can_still_write() -> None:
    """`$(job &)` ends when the job does, for the job holds the pipe."""
    assert (await Box().sh('x=$({ sleep 0.01; echo late; } & echo early); echo "$x"')).out == "early\nlate\n"


async def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that would take in endless input fails; the machine's memory is safe."""
    monkeypatch.setattr("minikube_py.images.shell.streams._MOST", 1 << 16)
    result = await Box().sh("sort /dev/zero; echo $?; x=$(cat /dev/zero); echo ${#x}")
    assert result.out.startswith("1\n")
    assert result.err.count("out of memory") == 2


async def test_a_fork_bomb_is_bounded() -> None:
    """`:(){ :|:& };:` runs into the limit of its container; the loop goes on, and SIGTERM ends all of it."""
    box = Box()
    running = asyncio.ensure_future(box.main("sh", "-c", ":(){ :|:& };: ; sleep 100"))
    while "can't fork: Resource temporarily unavailable" not in "".join(box.log):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) < 3000
    box.container.terminated.set()
    assert await asyncio.wait_for(running, 5) == 143


@pytest.mark.parametrize(
    "script",
    [
        "f() { f; }; f",
        "f() { (f); }; f",
        "f() { for i in 1; do x=$(f); done; }; f",
        "echo 'sh /tmp/f' > /tmp/f; sh /tmp/f",
        "echo '. /tmp/g' > /tmp/g; . /tmp/g",
        'x="eval \\$x"; eval $x',
    ],
)
async def test_endless_recursion_ends_the_shell_alone(script: str) -> None:
    """A script that calls itself for ever ends, with a message, as with a full stack; the container lives on."""
    box = Box()
    result = await box.sh(script)
    assert result.code in (2, 139)
    assert "recursion" in result.err
    assert (await box.sh("echo alive")).out == "alive\n"
