"""Judging, reflecting and remembering with a real language model, however little it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.agents.embedding import mean_hidden_states
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.search.asking import Judge
from sparring.search.critique import ranking
from sparring.search.debate import debate
from sparring.search.engine import Budget, plant, search_many
from sparring.search.evaluators import estimate
from sparring.search.memory import Memory, Reminded, read, write
from sparring.search.play import commitment
from sparring.search.reflection import executed, reflect, surprises
from sparring.search.rules import final_score, rules_of
from sparring.search.tree import Tree
from tests.search.worlds import CHOICES, SETTING, TreeWorld


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = ["Seen now: at the root. Answer with one of these: A, B, C, D, E.", *CHOICES] * 5
    return build_tiny(texts, tmp_path_factory.mktemp("models") / "tiny", vocabulary=300, hidden=32, layers=2, heads=2)


@pytest.fixture
def policy(folder: Path) -> HFPolicy:
    model, tokenizer = load_model(folder)
    return HFPolicy(model, tokenizer, max_new_tokens=8)


def test_a_text_is_the_mean_of_what_the_decoder_makes_of_its_tokens(policy: HFPolicy):
    texts = ["at left", "", "at the root, Seen now: left/middle/right", "at left"]
    found_ND = policy.embed(texts)
    assert found_ND.dtype == np.float32 and found_ND.shape == (4, 32)
    for text, row_D in zip(texts, found_ND, strict=True):
        ids = policy.vocabulary.encode(text)
        expected_D = np.zeros(32, dtype=np.float32)
        if ids:
            with torch.inference_mode():
                output = policy.model(torch.tensor([ids], device=policy.model.device), output_hidden_states=True)
            expected_D = output.hidden_states[-1][0].mean(0).cpu().numpy()
        np.testing.assert_allclose(row_D, expected_D, atol=1e-5)
    assert policy.embed([]).shape == (0, 32)


def test_vectors_do_not_depend_on_how_many_are_made_at_once(policy: HFPolicy):
    rows = [policy.vocabulary.encode("left " * count) for count in (3, 0, 40, 7, 7, 1)]
    whole_ND = mean_hidden_states(policy.model, rows)
    for tokens in (1, 16, 80):
        np.testing.assert_allclose(mean_hidden_states(policy.model, rows, tokens_at_once=tokens), whole_ND, atol=1e-5)


def test_a_long_text_is_cut_to_the_context(policy: HFPolicy):
    policy.max_context = 16
    long_ids = policy.vocabulary.encode("left right " * 50)
    assert len(long_ids) > 16
    short = mean_hidden_states(policy.model, [long_ids[:16]])
    np.testing.assert_allclose(policy.embed(["left right " * 50]), short, atol=1e-5)


def searched(policy: HFPolicy, judge: Judge) -> list[Tree]:
    rules = rules_of("r-mcts", samples=4, children=3, sees_outcome=False, stop_at=None)
    with EnvPool(TreeWorld, 3) as pool:
        trees = [plant(pool.envs[0], Start(0, sampling_seed=number, split="train"), SETTING) for number in range(3)]
        search_many(
            pool,
            policy,
            trees,
            rules=rules,
            evaluator=estimate(debate(judge)),
            critic=ranking(judge),
            budget=Budget(12),
        )
    return trees


def test_a_model_searches_by_its_own_judgement_reflects_and_is_reminded(policy: HFPolicy, tmp_path: Path):
    judge = Judge(policy)
    trees = searched(policy, judge)
    assert judge.asked > 100 and judge.tokens > judge.asked
    assert all(edge.critique is not None for tree in trees for edge in tree.edges)
    assert len({node.value for tree in trees for node in tree.nodes}) > 4
    again = searched(policy, Judge(policy))
    assert [[node.value for node in tree.nodes] for tree in trees] == [
        [node.value for node in tree.nodes] for tree in again
    ]
    rules = rules_of("r-mcts", commit="path", sees_outcome=False)
    steps = [
        step
        for tree in trees
        for path in [commitment(rules, tree)]
        for step in surprises(executed(path, final_score(path[-1].node.moment)), above=0.1)
    ]
    lessons = reflect(judge, steps)
    assert lessons and {one.split for one in lessons} == {"train"}
    path = tmp_path / "reflections.jsonl.zst"
    write(path, lessons)
    memory = Memory(policy.embed, read(path))
    reminded = Reminded(policy, memory)
    prompts = [tree.root.moment.prompt() for tree in trees]
    for prompt, action in zip(prompts, reminded.act(prompts), strict=True):
        assert action.text in CHOICES
        assert action.prompt_tokens > policy.act([prompt])[0].prompt_tokens
