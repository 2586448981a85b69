"""A critic with an encoder of its own: what it reads, that ArCHer teaches it, and that a run is read back with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from sparring.agents.load import load_agent
from sparring.agents.models.critic import TextReader
from sparring.errors import InvalidConfig
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import archer, offline_archer
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.turn_critic import TurnCriticConfig
from tests.worlds import WORDS

POSITIONS = 24
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def write_encoder(folder: Path, kind: str) -> Path:
    """A small encoder with random weights that holds few positions, and a tokenizer that says nothing of that."""
    known = {"[PAD]": 0, "[UNK]": 1, "say": 2, "the": 3, "word": 4} | {word: 5 + at for at, word in enumerate(WORDS)}
    words = Tokenizer(WordLevel(known, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        common = {**SIZES, "vocab_size": len(known), "pad_token_id": 0}
        if kind == "bert":
            model = BertModel(BertConfig(**common, max_position_embeddings=POSITIONS))
        else:
            model = RobertaModel(RobertaConfig(**common, max_position_embeddings=POSITIONS))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "bert", "bert")


def spell(ids: list[int]) -> str:
    return " ".join(WORDS[one] for one in ids)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_newest_of_a_text_that_is_too_long_is_read(kind: str, tmp_path: Path) -> None:
    reader = TextReader(write_encoder(tmp_path, kind), spell).eval()
    rng = np.random.default_rng(0)
    newest = rng.integers(len(WORDS), size=POSITIONS)
    long, longer, other = (np.concatenate([rng.integers(len(WORDS), size=size), newest]) for size in (5, 90, 5))
    other[-1] = (other[-1] + 1) % len(WORDS)
    first, second, third = reader.read_states([long, longer, other])
    assert torch.allclose(first, second, atol=1e-6)
    assert not torch.allclose(first, third, atol=1e-5)


def config(run: Path, model: Path, encoder: Path, env: EnvConfig, agent: AgentConfig) -> archer.Config:
    return archer.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=1e-3),
        loop=LoopConfig(steps=3, eval_every=0, checkpoint_every=2),
        values=TurnCriticConfig(encoder=str(encoder), foresight=0, critic_steps=2, critic_batch=8, fresh_actions=2),
        episodes=4,
        actor_states=4,
        warmup_steps=1,
    )


def test_archer_teaches_it_and_a_run_reranks_with_it(
    encoder: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, tmp_path: Path
) -> None:
    whole = config(tmp_path / "run", taught_model, encoder, copy_env, copy_agent)
    archer.train(whole)
    trained = torch.load(tmp_path / "run/checkpoints/step-3/critic.pt", weights_only=True, map_location="cpu")
    fresh = TextReader(encoder, spell).state_dict()
    # The encoder learns, not its heads alone.
    assert any(not torch.equal(trained["module"][f"reader.{name}"], value) for name, value in fresh.items())
    agent = load_agent(f"chai:{tmp_path / 'run'}:n=2")
    assert type(agent.policy.critic.reader) is TextReader  # type: ignore[attr-defined]


def test_offline_archer_has_one_too(
    encoder: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, tmp_path: Path
) -> None:
    offline_archer.train(
        offline_archer.Config(
            run=tmp_path / "run",
            model=str(taught_model),
            env=copy_env,
            agent=copy_agent,
            demos=DemosConfig("expert:0.7", episodes=20),
            loop=LoopConfig(steps=2, eval_every=0),
            encoder=str(encoder),
        )
    )
    agent = load_agent(f"chai:{tmp_path / 'run'}:n=2")
    assert type(agent.policy.critic.reader) is TextReader  # type: ignore[attr-defined]


def test_foresight_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="foresight"):
        TurnCriticConfig(encoder="roberta", foresight=1)


def test_a_folder_that_holds_none_is_named(
    taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, tmp_path: Path
) -> None:
    with pytest.raises(InvalidConfig, match="encoder"):
        archer.train(config(tmp_path / "run", taught_model, tmp_path / "nowhere", copy_env, copy_agent))
