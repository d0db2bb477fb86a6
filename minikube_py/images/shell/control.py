"""How control leaves a command early: `exit`, `return`, `break`, `continue`."""

__all__ = ["Break", "Continue", "Exit", "Return"]


class Exit(Exception):
    """The shell ends."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code & 0xFF


class Return(Exception):
    """The function or sourced file ends."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code & 0xFF


class Break(Exception):
    """The innermost `levels` loops end."""

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.levels = levels


class Continue(Exception):
    """The next round of the `levels`th loop begins."""

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.levels = levels
