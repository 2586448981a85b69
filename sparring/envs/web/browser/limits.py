"""What a page may cost before it is cut short or given up."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sparring.errors import InvalidConfig


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one page's time, size and intrusions. Beyond the first three an episode fails; the others cut short."""

    answer_s: float = 10.0
    """How long the page may take over one command, such as a click with everything that its handlers do."""
    dialogs: int = 20
    """Dialogs answered in one step."""
    popups: int = 50
    """Windows that a page may open in one step."""
    settle_s: float = 5.0
    """How long a step waits for the page to load and for its requests to end. Requests that take longer are not
    waited for again."""
    tabs: int = 5
    """Tabs open at once; windows beyond them are closed as they open."""
    nodes: int = 2_000
    """Nodes of the page that are looked at."""
    text_chars: int = 300
    """Characters of one text, name or value."""
    page_chars: int = 20_000
    """Characters of an observation."""
    action_chars: int = 4_000
    """Characters of an action."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise InvalidConfig(f"{one.name} must be greater than 0, got {getattr(self, one.name)}")
