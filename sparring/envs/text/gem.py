"""Any environment of gem (PyPI gem-llm), by its id, as a sparring environment.

What this mends of gem 0.1.0:

1. gem seeds and draws from the process-wide `random` and `numpy.random`, so that environments disturb each other: here
   each has generators of its own (`OwnGenerators`).
2. A game has no task that could be asked for again: here `train/17` is always the same instance.
3. Boards and prompts for the next move stand in `info["suffix"]`, which some games leave out at reset: here they are
   part of the observation.
4. A turn limit that the instruction states is reported as `terminated` and `truncated` at once: here it is an end like
   any other, `terminated`.
5. There is no score: here it is the sum of the rewards, clipped to [0, 1].
6. Its games can't be saved: here they are copied.

Games that need a word list of NLTK (Hangman, Wordle, WordSearch) download it when they are made; so do those whose
questions come from a data set (`math:`, `code:`, `qa:`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.global_generators import OwnGenerators
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, seed_of
from sparring.errors import EnvFailed, need, unknown
from sparring.types import ActionSet, Form

# What gem's single-turn environments return in place of a last observation.
_NO_OBSERVATION = "<｜TERMINAL_STATE｜>"
_ANY_TEXT = ActionSet(forms=(Form("", ""),))


class Gem(TextEnv):
    r"""A game of gem.

    A task is a seed of the game's instance; what else is drawn while it is played comes from the seed given to
    `reset`. (Minesweeper lays its mines at the first move, so there the seed decides them.) Small games have fewer
    instances than there are tasks, so a split may hold instances of another: compare with care.

    Every text is an action; gem looks in it for `\boxed{…}`, and most games end where it is missing. A game that
    raises on an action leaves it at a no-op.

    Args:
        game: gem's id, such as `game:Mastermind-v0-hard` or `rg:leg_counting`.
        boxed: put each action into `\boxed{}` itself, so that a model need only say what goes in it.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
        options: for gem's constructor.
    Raises:
        MissingExtra: gem is not installed. UnknownName: gem knows no such game. EnvFailed: gem can't make it.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("game", "_generators", "_text", "_rewards")

    def __init__(
        self,
        game: str,
        *,
        boxed: bool = False,
        train_tasks: int = 10_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
        **options: Any,
    ) -> None:
        gem: Any = need("gem", "gem")
        known = gem.envs.registration.ENV_REGISTRY
        if game not in known:
            raise unknown("gem environment", game, known)
        self.game_id, self.boxed = game, boxed
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._generators = OwnGenerators(0)
        self._text, self._rewards = "", 0.0
        with self._generators.lent():
            try:
                self.game: Any = gem.make(game, **options)
            except Exception as error:
                raise EnvFailed(f'gem can\'t make "{game}" here: {type(error).__name__}: {error}') from error

    def task_ids(self, split: str) -> SeededTasks:
        """`train/0`, `train/1` and so on."""
        return self._tasks.tasks(split)

    def observe(self) -> tuple[str, Info]:
        """The last observation; with `boxed`, any text is admissible."""
        return self._text, {"actions": _ANY_TEXT} if self.boxed else {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin the game's instance that the task stands for."""
        super().reset(seed=seed)
        task = self.choose_task(options)
        with self._generators.lent():
            rules, info = self.game.reset(seed=seed_of(task))
        self._generators.seed(int(self.np_random.integers(2**32)))
        self._text = self._suffix(info) or "Your move."
        self._rewards = 0.0
        return self._text, self.observe()[1] | {"task": task, "instruction": self._instruction(rules)}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        r"""Play `action`, which gem searches for its last `\boxed{…}`."""
        said = f"\\boxed{{{action}}}" if self.boxed else action
        try:
            with self._generators.lent():
                text, reward, terminated, truncated, info = self.game.step(said)
        except Exception as error:
            return self._text, 0.0, False, False, self.observe()[1] | {"no_op": f"gem raised {type(error).__name__}"}
        self._rewards += float(reward)
        over = bool(terminated or truncated)
        suffix = "" if over else self._suffix(info)
        self._text = "\n".join(part for part in (str(text).replace(_NO_OBSERVATION, "Done."), suffix) if part)
        found = self.observe()[1]
        if over:
            score = min(max(self._rewards, 0.0), 1.0)
            found |= {"score": score, "success": self._rewards > 1 - 1e-6}
        return self._text, float(reward), over, False, found

    def sample_action(self) -> str:
        """A well-formed action by gem's own rule, drawn from `np_random`; not every game has one.

        Raises:
            EnvFailed: this game has none.
        """
        generators = OwnGenerators(int(self.np_random.integers(2**32)))
        with generators.lent():
            try:
                action = str(self.game.sample_random_action())
            except NotImplementedError as error:
                raise EnvFailed(f'gem has no random action for "{self.game_id}"') from error
        return action.removeprefix("\\boxed{").removesuffix("}") if self.boxed else action

    def _suffix(self, info: dict[str, Any]) -> str:
        if "suffix" not in info and hasattr(self.game, "get_task_suffix"):
            return str(self.game.get_task_suffix())
        return str(info.get("suffix") or "")

    def _instruction(self, rules: str) -> str:
        if self.boxed:
            return f"{rules.strip()}\nSay only what goes inside \\boxed{{}}, without the box."
        if "\\boxed" in rules:
            return rules.strip()
        return f"{rules.strip()}\nPut the answer inside \\boxed{{}}."
