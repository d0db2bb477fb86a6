"""What a terminal gets: exit codes, errors, progress, tables."""

import os
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum

import click

__all__ = ["ExitCode", "Failure", "note", "step", "table", "warn"]


class ExitCode(IntEnum):
    """What mkpy's exit status says; a child's own code passes through."""

    OK = 0
    NO = 1
    """The answer is no, or there are findings."""
    USAGE = 2
    """Wrong usage or bad input."""
    NO_CLUSTER = 3
    BUG = 4
    TIMEOUT = 5
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the program with one sentence (and its next step) and an exit code."""

    def __init__(self, message: str, code: int = ExitCode.NO) -> None:
        super().__init__(message)
        self.code = int(code)


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def step(text: str, *, ok: bool = True) -> None:
    """Say on stderr that a step is done, as kind does."""
    mark = "✓" if ok else "✗"
    click.echo(f" {click.style(mark, fg='green' if ok else 'red') if _colour() else mark} {text}", err=True)


def warn(text: str) -> None:
    click.echo(f" {click.style('!', fg='yellow') if _colour() else '!'} {text}", err=True)


def note(text: str = "") -> None:
    """Write advice or progress: stderr."""
    click.echo(text, err=True)


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Return left-aligned columns, three spaces apart, as kubectl prints them."""
    cells = [[str(cell) for cell in row] for row in ([header] if header else [])] + [
        ["" if cell is None else str(cell) for cell in row] for row in rows
    ]
    if not cells:
        return ""
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells)))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells
    )
