"""Agent-R learns to recover from mistakes, by what its revisions teach and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

import sparring
import tests.trainers.test_resume as resume
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.envs.pool import EnvPool
from sparring.envs.second_thought import special_tokens
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder
from sparring.search import files
from sparring.search.asking import Judge
from sparring.search.engine import Budget, search
from sparring.search.rules import final_score, rules_of
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import agent_r, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.revisions import contrasts
from sparring.trainers.rounds import Flagged, LearningConfig, read_flagged
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from sparring.types import Action, Trajectory, Turn
from tests.search.worlds import SETTING, START, TreeWorld, uniform
from tests.trainers.detours import LOST, TEXTS, WORDS
from tests.trainers.hand_made import episode

AGENT = AgentConfig(max_action_tokens=8)
WRAPPER = "second-thought"


def register() -> None:
    sparring.register("tests/Detour-v1", "tests.trainers.detours:Detour", max_turns=5, words=1)
    sparring.register_wrapper(WRAPPER, "sparring.envs.second_thought:SecondThought")


@pytest.fixture
def detour() -> EnvConfig:
    register()
    return EnvConfig("tests/Detour-v1")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that imitated an expert who errs at a rate of .3, and does not know the way back."""
    register()
    folder = tmp_path_factory.mktemp("models")
    texts = [*TEXTS, *special_tokens()] * 3
    model = build_tiny(texts, folder / "model", vocabulary=300, hidden=32, layers=2, heads=2, max_context=160)
    return sft.train(
        sft.Config(
            run=folder / "start",
            model=str(model),
            env=EnvConfig("tests/Detour-v1"),
            agent=AGENT,
            demos=DemosConfig("expert:0.3", episodes=400),
            optim=OptimConfig(lr=4e-3),
            loop=LoopConfig(steps=150, eval_every=0, checkpoint_every=150),
        )
    )


def config_of(run: Path, model: Path, env: EnvConfig, **changes: Any) -> agent_r.Config:
    return agent_r.Config(
        run=run,
        model=str(model),
        env=env,
        agent=AGENT,
        demos=DemosConfig("expert", episodes=100),
        optim=OptimConfig(lr=2e-3),
        loop=LoopConfig(steps=3, eval_every=0, checkpoint_every=3),
        search=SearchConfig(method="agent-r", trees=64, simulations=8),
        **changes,
    )


# Learning


def recovery_rate(run: Path, env: EnvConfig, episodes: int = 128) -> float:
    """How often the agent succeeds whose first action is a wrong word."""
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None
    model, tokenizer = load_model(latest[1])
    policy = HFPolicy(model, tokenizer, max_new_tokens=AGENT.max_action_tokens)
    starts = [Start(seed, split="test", sampling_seed=seed) for seed in range(episodes)]
    with EnvPool(env.maker(), 32) as pool:
        played = rollout(policy, pool, starts, Setting(env.full_id))
        forced = [replace(start, prefix=(wrong_turn(one),)) for start, one in zip(starts, played, strict=True)]
        return sum(one.success for one in rollout(policy, pool, forced, Setting(env.full_id))) / episodes


def wrong_turn(episode: Trajectory) -> Turn:
    shown = episode.turns[0].observation
    return Turn(shown, Action(WORDS[(WORDS.index(shown.text) + 1) % len(WORDS)]), 0.0)


def test_the_way_back_is_learned_from_revisions(tmp_path: Path, start: Path, detour: EnvConfig) -> None:
    before = recovery_rate(start, detour)
    run = agent_r.train(config_of(tmp_path / "run", start, detour))
    assert before < 0.1 and recovery_rate(run, detour) > 0.8
    row = RunFolder(run).metrics()[-1]
    assert row["alpha"] == 1.0 and row["revisions"] > 10 and row["mistakes"] >= row["revisions"]


def test_good_episodes_alone_do_not_teach_it(
    tmp_path: Path, start: Path, detour: EnvConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run, in which no turn of a revision is trained."""
    monkeypatch.setattr(agent_r, "revised", lambda trajectory, first: Flagged(trajectory, frozenset()))
    run = agent_r.train(config_of(tmp_path / "run", start, detour))
    assert recovery_rate(run, detour) < 0.3


# Revisions are real


@pytest.mark.parametrize("splice", ["recover", "thought"])
@pytest.mark.parametrize("judge", ["value", "policy", "end"])
def test_every_revision_can_be_played_again(
    judge: Literal["value", "policy", "end"],
    splice: Literal["recover", "thought"],
    tmp_path: Path,
    start: Path,
    detour: EnvConfig,
) -> None:
    env = replace(detour, wrappers=(WRAPPER,)) if splice == "thought" else detour
    config = config_of(tmp_path / "run", start, env, judge=judge, splice=splice, good_per_task=0, demos_share=0.0)
    run = agent_r.train(replace(config, loop=replace(config.loop, steps=1), search=replace(config.search, trees=24)))
    found = list(read_flagged(run / "rounds" / "step-000001.jsonl.zst"))
    row = RunFolder(run).metrics()[0]
    assert len(found) == row["revisions"] > 0 and row["loss"] is not None
    starts = [
        Start(one.trajectory.seed, split="train", prefix=one.trajectory.turns)  # of which nothing is left to the policy
        for one in found
    ]
    with EnvPool(env.maker(), 8) as pool:
        again = rollout(uniform(), pool, starts, config.setting)
    for flagged, now in zip(found, again, strict=True):
        was = flagged.trajectory
        assert [replace(turn, action=turn.action) for turn in now.turns] == list(was.turns)
        assert (now.stop, now.info, now.error) == (was.stop, was.info, None) and was.success
        assert flagged.trained == frozenset(range(min(flagged.trained or {0}), len(was.turns)))
        first = min(flagged.trained or {0})
        if splice == "thought":
            assert was.turns[first].action.text in special_tokens()
            assert was.turns[first + 1].observation.text.startswith("ok.\n")
    if judge == "value" and splice == "recover":  # few simulations find a bad action where there is none, now and then
        began = [one.trajectory.turns[min(one.trained or {0})].observation.text for one in found]
        assert began.count(LOST) > 0.7 * len(began)


def test_a_run_keeps_its_trees(tmp_path: Path, start: Path, detour: EnvConfig) -> None:
    config = config_of(tmp_path / "run", start, detour, recovery_simulations=0)
    run = agent_r.train(replace(config, loop=replace(config.loop, steps=1), search=replace(config.search, trees=12)))
    row = RunFolder(run).metrics()[0]
    trees = list(files.read(run / "trees"))
    assert len(trees) == 12 and row["revisions"] == row["recoveries_known"]
    assert row["env_turns"] == sum(tree.spent.env_steps for tree in trees)


# The judge


class Critical:
    """Answers by a word in the question; what it says elsewhere is of no interest."""

    version = 0

    def __init__(self, said: str) -> None:
        self.said = said
        self.asked: list[str] = []

    def act(self, prompts: Sequence[Any]) -> list[Action]:
        texts = [prompt.messages[-1].content for prompt in prompts]
        assert all(prompt.observation.actions.choices == ("Good", "Bad", "Uncertain") for prompt in prompts)
        self.asked += texts
        return [Action("Bad" if f"The last action was:\n  {self.said}\n" in text else "no idea") for text in texts]


def test_a_policy_is_asked_until_it_has_called_an_action_bad() -> None:
    tree = search(
        TreeWorld(3, seed=5), uniform(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(simulations=30)
    )
    branches = [one.branch for one in contrasts(tree, final_score, alpha=0.5, beta=0.2, nearest=False)]
    policy = Critical("middle")
    judge = Judge(policy)
    verdicts = agent_r.by_asking(judge, branches)
    wanted = []
    for branch in branches:
        said = [edge.action.text for edge in branch]
        until = said.index("middle") if "middle" in said else len(said)
        wanted.append(["Uncertain"] * until + ["Bad"] * ("middle" in said))
    assert verdicts == wanted and {len(one) for one in wanted} == {1, 2, 3}
    assert judge.asked == len(policy.asked) == sum(map(len, wanted)) and judge.invalid > 0


# Settings


def test_demonstrations_are_a_share_of_all() -> None:
    assert [agent_r.round_share(0.2, others) for others in (0, 4, 40)] == [0, 1, 10]
    assert agent_r.round_share(0.0, 40) == 0


def test_only_good_demonstrations_are_shown() -> None:
    played = [replace(episode([0, worth], ["red", "blue"]), seed=seed) for seed, worth in enumerate([0.0, 0.6, 1.0])]
    config = agent_r.Config(demos_share=0.5)
    shown = [agent_r.demonstrations_for(config, played, others, round) for others, round in ((9, 1), (1, 2), (0, 1))]
    assert [[one.trajectory.score for one in some] for some in shown] == [[0.6, 1.0], [1.0], []]
    assert all(one.trained is None for some in shown for one in some)


def test_thresholds_rise_and_stay() -> None:
    assert [agent_r.Config().alpha_of(round) for round in range(1, 6)] == [0.5, 0.7, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"alpha": ()}, "alpha must be one or more numbers"),
        ({"alpha": (0.5, 1.5)}, "within 0 and 1"),
        ({"demos_share": 1.0}, "below 1"),
        ({"splice": "thought"}, "put second-thought last"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        agent_r.Config(**changes)


# Resuming


def resumed_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> agent_r.Config:
    return agent_r.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=resume.OPTIM,
        loop=resume.LOOP,
        learning=LearningConfig(updates=3, batch_episodes=4),
        search=SearchConfig(method="agent-r", trees=4, simulations=4),
        demos=DemosConfig("expert:0.3", episodes=20),
        alpha=(0.3,),
        gap=0.05,
    )


def test_a_graceful_stop_and_resume(
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resume.test_a_graceful_stop_and_resume(
        agent_r, resumed_config, tmp_path, copy_model, copy_env, copy_agent, monkeypatch, capsys
    )
    assert sum(row["revisions"] for row in RunFolder(tmp_path / "whole").metrics()) > 0


def test_killed_between_checkpoints_and_resumed(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    resume.test_killed_between_checkpoints_and_resumed(
        agent_r, resumed_config, tmp_path, copy_model, copy_env, copy_agent
    )
