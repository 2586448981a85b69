"""A value model: what it reads, that it learns a known function exactly, and what a search makes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparring.agents.models import load_model
from sparring.agents.models.critic import TokenCritic, trunk_of
from sparring.agents.models.tiny import build_tiny
from sparring.agents.models.value import VALUE_FILE, ValueModel, load_value_model
from sparring.episode import Start
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.search.engine import Budget, search
from sparring.search.evaluators import Evaluator, estimate
from sparring.search.greedy_rollout import greedy_rollout
from sparring.search.play import commitment
from sparring.search.rules import final_score, rules_of
from sparring.search.tree import Tree
from sparring.trainers.checkpoint import Learner
from sparring.trainers.optim import OptimConfig, build_optimizer
from sparring.trainers.process_rewards import process_rewards
from sparring.trainers.value_training import (
    Example,
    ValueLearner,
    ValueTrainingConfig,
    _add_gradients,
    fit,
    load_value_learner,
)
from sparring.types import Trajectory
from tests.search.worlds import CHOICES, SETTING, START, LeftPolicy, TreeWorld, uniform
from tests.trainers.hand_made import episode

OPTIM = OptimConfig(lr=3e-3, warmup_steps=3, decay="cosine")
DEPTH = 3
BEST = max(TreeWorld(DEPTH).values, key=TreeWorld(DEPTH).values.__getitem__)


def process_value(path: tuple[str, ...]) -> float:
    """The value of a place of the world, of whose paths one is right: in closed form.

    A right prefix of k steps is worth k/3. Steps away all give back (1 - v) / m, with m for what was left where the way
    was lost.
    """
    right = next((at for at, one in enumerate(path) if one != BEST[at]), len(path))
    value, left = right / DEPTH, DEPTH - right + 1
    for _ in path[right:]:
        value = max(0.0, value - (1 - value) / left)
    return value


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    """A small policy whose tokenizer knows the world's words."""
    words = ["at the root", *(f"at {one}/{one}/{one}" for one in CHOICES), *CHOICES] * 3
    folder = tmp_path_factory.mktemp("models") / "tree"
    build_tiny(words, folder, vocabulary=300, hidden=32, layers=2, heads=2, max_context=128)
    model, tokenizer = load_model(folder)
    return Learner(model, tokenizer, build_optimizer(model, OPTIM))


@pytest.fixture(scope="module")
def whole_tree() -> Tree:
    """The world, seen whole."""
    rules = rules_of("mcts", samples=30, children=3, stop_at=None)
    tree = search(TreeWorld(DEPTH), uniform(), START, SETTING, rules=rules, budget=Budget(simulations=300))
    assert len(tree.nodes) == 1 + 3 + 9 + 27
    return tree


@pytest.fixture(scope="module")
def examples(whole_tree: Tree) -> list[Example]:
    found = process_rewards(whole_tree, lambda moment: moment.trajectory().success)
    return [Example(one.node.moment, one.value) for one in found]


@pytest.fixture(scope="module")
def trained(learner: Learner, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> ValueLearner:
    value = load_value_learner(learner, OPTIM, RunFolder(tmp_path_factory.mktemp("run")), seed=0)
    config = ValueTrainingConfig(updates=200, max_passes=100, batch=16)
    torch.set_num_threads(1)
    row = fit(config, value, examples, seed=0, round=1)
    assert row["value_error_before"] > row["value_label_variance"] and row["value_updates"] == 200
    return value


# What is learned


def test_labels_of_the_whole_world_are_those_of_the_closed_form(examples: list[Example]) -> None:
    for one in examples:
        path = tuple(turn.action.text for turn in one.moment.turns)
        assert one.value == pytest.approx(process_value(path)), path


def test_the_model_learns_the_closed_form(trained: ValueLearner, examples: list[Example]) -> None:
    found = trained.model([one.moment for one in examples])
    assert found == pytest.approx([one.value for one in examples], abs=0.05)


def found_by(evaluator: Evaluator, seed: int) -> float:
    """The score of what a search commits to that never sees an outcome: of 40 places it looks at 20 at most."""
    rules = rules_of("rest-mcts", samples=30, exploration=0.2, sees_outcome=False, stop_at=None)
    start = Start(0, sampling_seed=seed)
    budget = Budget(simulations=20)
    tree = search(TreeWorld(DEPTH), uniform(), start, SETTING, rules=rules, evaluator=evaluator, budget=budget)
    last = commitment(rules, tree)[-1].node
    assert last is not None
    return final_score(last.moment)


def test_a_search_finds_by_values_what_greed_misses(trained: ValueLearner) -> None:
    greedy = search(TreeWorld(DEPTH), LeftPolicy(), START, SETTING, rules=rules_of("best-of-n"))
    assert max(final_score(node.moment) for node in greedy.endings()) < 1
    for evaluator in (estimate(trained.model), greedy_rollout(trained.model)):
        assert [found_by(evaluator, seed) for seed in range(6)] == [1.0] * 6


def test_and_not_by_those_of_a_model_that_has_learned_nothing(learner: Learner, tmp_path: Path) -> None:
    fresh = load_value_learner(learner, OPTIM, RunFolder(tmp_path), seed=0)
    assert not fresh.has_learned
    for evaluator in (estimate(fresh.model), greedy_rollout(fresh.model)):
        assert sum(found_by(evaluator, seed) == 1 for seed in range(6)) <= 1


# What is read


def test_moments_are_valued_alike_alone_and_together(trained: ValueLearner, examples: list[Example]) -> None:
    moments = [one.moment for one in examples]
    together = trained.model(moments)
    assert together == pytest.approx([trained.model([one])[0] for one in moments], abs=1e-5)
    assert trained.model([]) == []


def test_tokens_in_which_something_was_said_do_not_matter(trained: ValueLearner, examples: list[Example]) -> None:
    moment = examples[-1].moment
    foreign = [replace(turn, action=replace(turn.action, token_ids=(9999, 7))) for turn in moment.turns]
    assert trained.model([replace(moment, turns=tuple(foreign))]) == trained.model([moment])


def test_a_long_prompt_loses_its_beginning(trained: ValueLearner, examples: list[Example]) -> None:
    messages = examples[-1].moment.prompt().messages
    whole = trained.model.encode(messages)
    shorter = ValueModel(trained.model.critic, trained.model.chat.vocabulary)
    shorter.max_context = 10
    assert shorter.encode(messages).tolist() == whole[-10:].tolist()


def test_the_worth_of_steps_is_what_they_add(trained: ValueLearner, examples: list[Example]) -> None:
    [right] = [one.moment for one in examples if one.value == 1]
    rewards = trained.model.step_rewards(right.trajectory())
    assert rewards == pytest.approx([1 / 3] * 3, abs=0.1)
    before, after = trained.model([examples[0].moment, right])
    assert sum(rewards) == pytest.approx(after - before, abs=1e-5)
    with pytest.raises(InvalidData, match="no final observation"):
        trained.model.step_rewards(replace(right.trajectory(), final=None))


def test_values_are_held_within_0_and_1(learner: Learner, examples: list[Example]) -> None:
    critic = TokenCritic(trunk_of(learner.model)).to(learner.model.device)
    for bias, expected in ((3.0, 1.0), (-3.0, 0.0)):
        critic.start_at(bias)
        assert ValueModel(critic, learner.tokenizer)([examples[0].moment]) == [expected]


# How it is learned and kept


@pytest.mark.parametrize("tokens", [1, 64, 10_000])
def test_micro_batches_change_no_gradient(
    tokens: int, learner: Learner, examples: list[Example], tmp_path: Path
) -> None:
    optim = replace(OPTIM, micro_batch_tokens=tokens)
    value = load_value_learner(learner, optim, RunFolder(tmp_path), seed=0)
    rows = [value.model.encode(one.moment.prompt().messages) for one in examples[:7]]
    labels_B = torch.tensor([one.value for one in examples[:7]])
    loss = _add_gradients(value, rows, labels_B)
    found = [one.grad.clone() for one in value.critic.module.parameters() if one.grad is not None]
    value.critic.module.zero_grad()
    expected = ((value.model.read(rows).cpu() - labels_B) ** 2).mean()
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    wanted = [one.grad for one in value.critic.module.parameters() if one.grad is not None]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_value_model_comes_back_from_its_checkpoint(
    trained: ValueLearner, learner: Learner, examples: list[Example], tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path / "run", "rest_mcts", OPTIM)
    with pytest.raises(InvalidConfig, match="has no value model yet"):
        load_value_model(run.path)
    with run.checkpoint(1) as folder:
        learner.write(folder)
        trained.critic.write(folder)
    moments = [one.moment for one in examples]
    expected = trained.model(moments)
    for path in (run.path, run.path / "checkpoints" / "step-1"):
        assert load_value_model(path)(moments) == expected
    again = load_value_learner(learner, OPTIM, run, seed=1)
    assert again.critic.steps == trained.critic.steps and again.has_learned and not again.had_learned
    slow = OptimConfig(lr=1e-6)
    begun = load_value_learner(learner, slow, RunFolder(tmp_path / "new"), seed=0, start_from=run.path)
    assert begun.had_learned and begun.critic.steps == 0 and begun.model(moments) == expected
    # What it knew is not overwritten when it learns more.
    fit(ValueTrainingConfig(updates=1), begun, examples, seed=0, round=1)
    assert begun.model(moments) == pytest.approx(expected, abs=0.01)


def test_a_checkpoint_without_a_value_model_says_so(trained: ValueLearner, learner: Learner, tmp_path: Path) -> None:
    learner.write(tmp_path)
    with pytest.raises(InvalidData, match=rf"{VALUE_FILE} holds no value model"):
        load_value_model(tmp_path)
    trained.critic.write(tmp_path)
    shutil.copy(tmp_path / "config.json", tmp_path / VALUE_FILE)
    with pytest.raises(InvalidData, match="holds no value model"):
        load_value_model(tmp_path)


def test_nothing_to_learn_changes_nothing(learner: Learner, tmp_path: Path) -> None:
    value = load_value_learner(learner, OPTIM, RunFolder(tmp_path), seed=0)
    assert fit(ValueTrainingConfig(), value, [], seed=0, round=1)["value_updates"] == 0
    assert not value.has_learned


def test_impossible_settings_and_labels_teach(examples: list[Example]) -> None:
    with pytest.raises(InvalidConfig, match=r"value\.batch must be at least 1, got 0"):
        ValueTrainingConfig(batch=0)
    with pytest.raises(InvalidData, match="must lie within 0 and 1, got -3"):
        Example(examples[0].moment, -3.0)


def test_an_episode_of_another_world_can_be_valued(trained: ValueLearner) -> None:
    played: Trajectory = episode([0, 1], ["red", "green"])
    assert len(trained.model.step_rewards(played, system="Think.")) == 2
