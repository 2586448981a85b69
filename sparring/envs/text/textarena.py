"""Any single-player environment of textarena, by its id, as a sparring environment.

What this mends of textarena 0.7.4:

1. It seeds and draws from the process-wide `random`: here each environment has generators of its own (`OwnGenerators`),
   and a task is always the same instance.
2. Its default wrapper keeps every message of every game that an environment ever played, and shows all of them: here an
   observation is what is new since the last action, without the action itself.
3. The reward comes from `close()`, in a dictionary, and the reason only in another: here they come with the last step.
4. Countdown, Cryptarithm, Slitherlink and ThreeCardMonte give an invalid move's reason for its reward and the other way
   round: here they are told apart.
5. Some games print to the terminal at each reset or step: here they do not.

Games that ask a language model (TwentyQuestions, GuessWho) need its key, and those with a word list of NLTK (Hangman,
Wordle, WordLadder, WordSearch) download it when they are made.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.global_generators import OwnGenerators
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, seed_of
from sparring.errors import EnvFailed, InvalidConfig, need, unknown


class TextArena(TextEnv):
    """A single-player game of textarena.

    A task is a seed of the game's instance; what else is drawn while it is played comes from the seed given to
    `reset`. Small games have fewer instances than there are tasks, so a split may hold instances of another.

    Every text is an action; one without square brackets gets them, as under textarena's own wrapper. An action that the
    game calls invalid is reported in `info["no_op"]`; a second one in a row ends the game with a reward of -1. A game
    that raises on an action leaves it at a no-op too.

    Args:
        game: textarena's id, such as `Mastermind-v0`.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
        options: for textarena's constructor.
    Raises:
        MissingExtra: textarena is not installed. UnknownName: it knows no such game. InvalidConfig: the game is for
        several players. EnvFailed: textarena can't make it.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("game", "_generators", "_text")

    def __init__(
        self,
        game: str,
        *,
        train_tasks: int = 10_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
        **options: Any,
    ) -> None:
        self._package: Any = need("textarena", "textarena")
        known = self._package.envs.registration.ENV_REGISTRY
        bare = game if game.endswith("-raw") else f"{game}-raw"
        if bare not in known:
            raise unknown("textarena environment", game, (id for id in known if not id.endswith(("-raw", "-train"))))
        self.game_id = game
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._generators = OwnGenerators(0)
        self._text = ""
        with self._generators.lent():
            try:
                self.game: Any = self._package.make(bare, **options)
            # Some of its modules do not even compile, and nltk raises a LookupError for a missing word list.
            except Exception as error:
                raise EnvFailed(f'textarena can\'t make "{game}" here: {type(error).__name__}: {error}') from error

        _silence(self.game)

    def task_ids(self, split: str) -> SeededTasks:
        """`train/0`, `train/1` and so on."""
        return self._tasks.tasks(split)

    def observe(self) -> tuple[str, Info]:
        """What the last step returned; every text is an action."""
        return self._text, {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin the game's instance that the task stands for.

        Raises:
            InvalidConfig: the game is for several players. EnvFailed: textarena can't begin it.
        """
        super().reset(seed=seed)
        task = self.choose_task(options)
        with self._generators.lent():
            try:
                self.game.reset(num_players=1, seed=seed_of(task))
            except AssertionError as error:
                raise InvalidConfig(f'textarena\'s "{self.game_id}" is no single-player game: {error}') from error
            except Exception as error:
                raise EnvFailed(f'textarena can\'t begin "{self.game_id}": {type(error).__name__}: {error}') from error
            if not isinstance(self.game.state, self._package.SinglePlayerState):
                raise InvalidConfig(f'textarena\'s "{self.game_id}" is no single-player game')
            messages = self._messages()
        self._generators.seed(int(self.np_random.integers(2**32)))
        rules = [text for text, kind in messages if kind is self._package.ObservationType.PROMPT]
        shown = [text for text, kind in messages if kind is not self._package.ObservationType.PROMPT]
        self._text = "\n".join(shown) or "Your move."
        return self._text, {"task": task, "instruction": "\n".join(rules) or self.game_id}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Play `action`, put into square brackets unless it has some."""
        said = action if "[" in action or "]" in action else f"[{action}]"
        state = self.game.state
        errors = state.error_count
        try:
            with self._generators.lent():
                done, _ = self.game.step(said)
                new = [text for text, _ in self._messages()]
        except Exception as error:
            return self._text, 0.0, False, False, {"no_op": f"textarena raised {type(error).__name__}"}
        if not done:
            self._text = "\n".join(new) or "Your move."
            refused = state.error_count > errors
            return self._text, 0.0, False, False, {"no_op": "the game calls it invalid"} if refused else {}
        reward, reason = _outcome(state)
        self._text = "\n".join([*new, reason]).strip() or "The end."
        return self._text, reward, True, False, {"score": min(max(reward, 0.0), 1.0), "success": reward >= 1}

    def _messages(self) -> list[tuple[str, Any]]:
        """What is new for the player, without the player's own words, which the policy knows."""
        _, messages = self.game.get_observation()
        own = self._package.ObservationType.PLAYER_ACTION
        return [(str(text).strip(), kind) for _, text, kind in messages if kind is not own]


def _outcome(state: Any) -> tuple[float, str]:
    """The reward and the reason of a finished game, also where the game took one for the other."""
    reward, reason = state.rewards[0], state.game_info[0].get("reason") or ""
    if isinstance(reward, str):
        return -1.0, reward
    return float(reward), str(reason)


def _silence(game: Any) -> None:
    """Give the game's module a `print` that says nothing; redirecting the standard output would be heard by all."""
    vars(sys.modules[type(game).__module__]).setdefault("print", lambda *_, **__: None)
