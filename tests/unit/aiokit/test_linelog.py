"""Logs of lines: kept, followed, and listened to as they are written."""

import asyncio

from minikube_py.aiokit.linelog import LineLog


async def test_a_listener_hears_text_before_its_line_ends() -> None:
    """A prompt without a line end reaches who is attached, also one that was written before; a follower gets lines."""
    log = LineLog()
    log.write("old\n$ ", 1.0)
    heard: list[str] = []

    async def listen() -> None:
        async for text in log.listen(unfinished=True):
            heard.append(text)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    log.write("echo hi\nhi\n$ ", 2.0)
    log.close(3.0)
    await listening
    assert heard == ["$ ", "echo hi\nhi\n$ "]
    assert [line.text for line in log.lines()] == ["old", "$ echo hi", "hi", "$ "]


async def test_a_closed_log_has_nothing_to_listen_to() -> None:
    """Listening to what has ended ends at once."""
    log = LineLog()
    log.close(1.0)
    assert [text async for text in log.listen()] == []


async def test_a_listener_may_ask_for_what_was_before() -> None:
    """All kept lines, then the unfinished one, then what follows."""
    log = LineLog()
    log.write("a\nb\n> ", 0.0)
    log.close(0.0)
    assert "".join([text async for text in log.listen(past=True)]) == "a\nb\n> \n"
