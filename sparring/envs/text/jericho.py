"""Z-machine games (Zork and its kind) through Jericho (Hausknecht et al., AAAI 2020), which ships no games.

Jericho is under the GPL, so it is an extra of its own. What this mends of jericho 3.3.1: a seed of 0 meant the time of
day; commands that save to files or restart are kept from the game; in games that Jericho does not know, the score of
version 3 games is read from where the format puts it, and their ends are seen.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from sparring.envs.base import Info, TextEnv
from sparring.errors import InvalidConfig, need, unknown
from sparring.types import ActionSet, Form, Snapshot

_ENDINGS = (".z1", ".z2", ".z3", ".z4", ".z5", ".z8")
_LONGEST_COMMAND = 190  # bytes; the interpreter's own buffer holds 198
# To the interpreter, not to the world: they ask for file names, leave, or begin anew.
_META = re.compile(
    r"(^|[.,;]|\bthen\b)\s*(save|restore|restart|quit|q|undo|((un|no)?script|transcript|record|recording|replay|commands"
    r"|\$\w+|#\w+)\b[^.,;]*)\s*($|[.,;]|\bthen\b)"
)
_STATUS_LINE = re.compile(r"\A>?[^\n]*\bScore: *-?\d+ +(Moves|Turns): *\d+ *\n")
_WON = re.compile(r"\*\*\*\s*You (have )?w[io]n", re.IGNORECASE)
_ANY_LINE = ActionSet(forms=(Form("", ""),))
_GLOBALS_AT = 0x0C  # where a story file's header says where its global variables begin


class Jericho(TextEnv):
    """A Z-machine game, or those of a folder; each is a task of the one split, `train`.

    The score is the game's own over its highest, clipped to [0, 1]; the reward is its change, in the same measure. A
    game that Jericho does not know has a score only if it is of version 3 and `max_score` is given, and otherwise
    scores 1 when it says that it is won. Its luck comes from the seed of `reset`.

    Args:
        rom: a story file (.z1 to .z5, .z8), or a folder of them.
        actions: `text` (any line), `words` (lines of the words that the game knows, cut as it cuts them: for small
            models; a walkthrough may say others), or `list` (what changes the game's world, found by Jericho by trying:
            it takes long, and Jericho must know the game and have spaCy's English model).
        walkthrough_luck: play with the seed that the game's walkthrough needs, whatever the seed of `reset`.
        walkthrough: commands for the expert, for a game in which Jericho has none.
        max_score: of a game that Jericho does not know.
    Raises:
        InvalidConfig: there is no such file, or no story file in the folder. MissingExtra: jericho is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    state: ClassVar[tuple[str, ...]] = ("_saved", "_task", "_text", "_actions", "_points", "_said", "_over")

    def __init__(
        self,
        rom: str | Path = "",
        *,
        actions: Literal["text", "words", "list"] = "text",
        walkthrough_luck: bool = False,
        walkthrough: Sequence[str] = (),
        max_score: int | None = None,
    ) -> None:
        self._package: Any = need("jericho", "jericho")
        self.games = _story_files(rom)
        if actions not in ("text", "words", "list"):
            raise InvalidConfig(f'actions must be "text", "words" or "list", got "{actions}"')
        if max_score is not None and max_score < 1:
            raise InvalidConfig(f"max_score must be at least 1, got {max_score}")
        self.actions, self.walkthrough_luck = actions, walkthrough_luck
        self._given_walkthrough, self._given_max = tuple(walkthrough), max_score
        self._machine: Any = None
        self._loaded, self._words = "", _ANY_LINE
        self._walkthrough: tuple[str, ...] = ()
        self._saved: Any = None
        self._task, self._text, self._actions = "", "", ActionSet()
        self._points, self._said, self._over = 0, 0, False

    def task_ids(self, split: str) -> list[str]:
        """The names of the games, which are those of their files."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return list(self.games)

    def observe(self) -> tuple[str, Info]:
        """What the last step returned."""
        return self._text, {"actions": self._actions}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a game."""
        super().reset(seed=seed)
        self._load(self.choose_task(options))
        luck = None if self.walkthrough_luck else int(self.np_random.integers(1, 2**15))
        self._machine.seed(luck)
        text, _ = self._machine.reset()
        self._points, self._said, self._over = self._read_score(), 0, False
        self._show(text)
        return self._text, self.observe()[1] | {"task": self._task, "instruction": "Play the game and score points."}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Give the game a command; what does not reach it, or is not of its words, is a no-op."""
        problem = self._problem(action)
        if problem:
            return self._text, 0.0, False, False, self.observe()[1] | {"no_op": problem}
        if self._said < len(self._walkthrough) and action == self._walkthrough[self._said]:
            self._said += 1
        text, _, _, _ = self._machine.step(action)
        points = self._read_score()
        reward, self._points = (points - self._points) / (self._max_score() or 1), points
        won = bool(self._machine.victory() or _WON.search(text))
        self._over = bool(won or self._machine.game_over() or self._machine._emulator_halted())
        self._show(text)
        info = self.observe()[1]
        if self._over:
            reached = self._points / self._max_score() if self._max_score() else float(won)
            info |= {"score": min(max(reached, 0.0), 1.0), "success": won}
        return self._text, reward, self._over, False, info

    def expert_action(self) -> str:
        """The next command of the walkthrough that has not been given yet; it does not find back by itself.

        A walkthrough is made for one seed: see `walkthrough_luck`.

        Raises:
            UnknownName: the game has no walkthrough.
        """
        if not self._walkthrough:
            return super().expert_action()
        return self._walkthrough[self._said] if self._said < len(self._walkthrough) else "look"

    def snapshot(self) -> Snapshot:
        """Save the machine's memory, stack and random generator with the rest."""
        self._saved = self._machine.get_state() if self._machine is not None else None
        saved = super().snapshot()
        self._saved = None
        return saved

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring a saved machine back."""
        found = super().restore(snapshot)
        if self._saved is not None:
            self._load(self._task)
            self._machine.set_state(self._saved)
            self._saved = None
        return found

    def close(self) -> None:
        """Free the machine."""
        self._machine, self._loaded = None, ""

    def _load(self, task: str) -> None:
        self._task = task
        if self._loaded == task:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Jericho does not know the game; max_score and walkthrough say so
            self._machine = self._package.FrotzEnv(str(self.games[task]), seed=1)
            known = bool(self._machine.is_fully_supported)
            self._walkthrough = self._given_walkthrough or (tuple(self._machine.get_walkthrough()) if known else ())
        if self.actions == "list" and not known:
            raise InvalidConfig(f'actions="list" needs a game that Jericho knows, and {self.games[task].name} is none')
        if self.actions == "words":
            words = sorted({entry.word for entry in self._machine.get_dictionary() if entry.word.isalpha()})
            self._words = ActionSet(forms=(Form("", "", tuple(words)),))
        self._loaded = task

    def _problem(self, command: str) -> str:
        if self._over:
            return "the game is over"
        if not command.strip() or not command.isascii() or not command.isprintable() or len(command) > _LONGEST_COMMAND:
            return f"{command[:20]!r} is no line of plain text of at most {_LONGEST_COMMAND} characters"
        if _META.search(command.lower()):
            return f"{command[:20]!r} is a command to the interpreter"
        if not self._actions.admits(command):
            return f"{command[:20]!r} is not admissible"
        return ""

    def _show(self, text: str) -> None:
        self._text = _STATUS_LINE.sub("", text).strip() or "Nothing is said."
        self._actions = self._words
        if self.actions == "list" and not self._over:
            valid = self._machine.get_valid_actions(use_parallel=False)
            self._actions = ActionSet(tuple(sorted(set(valid))) or ("look",))

    def _max_score(self) -> int:
        return self._given_max or (int(self._machine.get_max_score()) if self._machine.is_fully_supported else 0)

    def _read_score(self) -> int:
        if self._machine.is_fully_supported:
            return int(self._machine.get_score())
        # The Z-Machine Standards Document 1.1, section 8.2: in versions 1 to 3 the second global is the score.
        memory = self._machine._get_ram()
        if memory[0] > 3 or self._given_max is None:
            return 0
        at = int.from_bytes(bytes(memory[_GLOBALS_AT : _GLOBALS_AT + 2])) + 2
        return int.from_bytes(bytes(memory[at : at + 2]), signed=True)


def _story_files(rom: str | Path) -> dict[str, Path]:
    """The story files that `rom` names, by their names without endings."""
    path = Path(rom)
    files = sorted(path.iterdir()) if rom and path.is_dir() else [path]
    found = {file.stem: file for file in files if file.suffix.lower() in _ENDINGS and file.is_file()}
    if not found:
        raise InvalidConfig(
            f'rom="{rom}" is no story file and no folder of them ({", ".join(_ENDINGS)}). Jericho ships no games: '
            'give the path of one, such as sparring.make("Jericho-v1", rom="zork1.z5")'
        )
    return found
