"""What calls on a cluster give back."""

from dataclasses import dataclass

__all__ = ["CommandResult"]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command in a container did."""

    exit_code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return self.stdout

    def check(self) -> "CommandResult":
        """Return self, or raise RuntimeError with what the command wrote if it failed."""
        if self.exit_code:
            raise RuntimeError(f"exit code {self.exit_code}: {self.stderr or self.stdout}")
        return self
