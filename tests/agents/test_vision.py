"""Vision-language models of three families under the one policy contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sparring.agents.eyes import eyes_of
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny, train_tokenizer
from sparring.agents.models.tiny_vision import build_tiny_vision
from sparring.agents.vision import VisionPolicy, load_policy, policy_on
from sparring.envs.gui.screens import png_of
from sparring.errors import InvalidConfig
from sparring.trainers.batch import collate, samples_of, score_tokens, vocabulary_size
from sparring.types import ActionSet, Image, Message, Observation, Prompt, Stop, Trajectory, Turn

PIL = pytest.importorskip("PIL.Image")
TEXTS = ["click the red circle", '{"action": "click", "point": [500, 250]}', "a screen"] * 3
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def picture(colour: str, width: int = 64, height: int = 64) -> Image:
    found = PIL.new("RGB", (width, height), "white")
    found.paste(colour, (8, 8, 30, 30))
    return png_of(found)


RED, BLUE = picture("red"), picture("blue")


def tokenizer(*more: str) -> Any:
    made = train_tokenizer(TEXTS, vocabulary=300)
    made.add_tokens(list(more), special_tokens=True)
    return made


def saved(folder: Path, model: Any, tokens: Any, processor: Any) -> Path:
    for one in (model, tokens, processor):
        one.save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    return build_tiny_vision(TEXTS, folder, hidden=32, layers=2, heads=2, vocabulary=300, patch=16)


def siglip(folder: Path) -> Path:
    """A LLaVA whose tower has no class token, all of whose features are taken, as in LLaVA-Interleave."""
    tokens = tokenizer("<image>")
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", **SHAPE, "num_key_value_heads": 2, "vocab_size": len(tokens)},
        vision_config={"model_type": "siglip_vision_model", **SHAPE, "image_size": 64, "patch_size": 16},
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    module = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    processor = module.SiglipImageProcessorPil(size={"height": 64, "width": 64})
    return saved(folder, transformers.LlavaForConditionalGeneration(config), tokens, processor)


def qwen(folder: Path) -> Path:
    tokens = tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = {name: tokens.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    config = transformers.Qwen2VLConfig(
        text_config={
            **SHAPE,
            "num_key_value_heads": 2,
            "vocab_size": len(tokens),
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        },
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 14},
        image_token_id=tokens.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokens.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    return saved(
        folder, transformers.Qwen2VLForConditionalGeneration(config), tokens, module.Qwen2VLImageProcessorPil()
    )


def idefics(folder: Path) -> Path:
    tokens = tokenizer("<image>", "<fake_token_around_image>", "<global-img>")
    config = transformers.Idefics3Config(
        text_config={
            "model_type": "llama",
            **SHAPE,
            "num_key_value_heads": 2,
            "vocab_size": len(tokens),
            "max_position_embeddings": 512,
            "pad_token_id": 0,
        },
        vision_config={**SHAPE, "num_hidden_layers": 1, "image_size": 64, "patch_size": 16},
        scale_factor=2,
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    module = pytest.importorskip("transformers.models.idefics3.image_processing_pil_idefics3")
    return saved(
        folder, transformers.Idefics3ForConditionalGeneration(config), tokens, module.Idefics3ImageProcessorPil()
    )


@pytest.fixture(scope="module", params=[llava, qwen, idefics])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build: Callable[[Path], Path] = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(tmp_path_factory.mktemp("eyes") / build.__name__)


def prompt(*shown: Image | None, text: str = "click the red circle", seed: int = 0) -> Prompt:
    messages = []
    for number, image in enumerate(shown):
        if number:
            messages.append(Message("assistant", "a screen"))
        messages.append(Message("user", text, image=image))
    return Prompt(tuple(messages), Observation(text, image=shown[-1]), seed=(seed,))


PROMPTS = [prompt(RED), prompt(BLUE, seed=1), prompt(RED, BLUE, seed=2), prompt(None, text="a", seed=3)]


def test_sampled_log_probabilities_are_those_of_a_fresh_forward(folder: Path) -> None:
    policy = load_policy(folder, max_new_tokens=6, constrained=False)
    assert isinstance(policy, VisionPolicy)
    actions = policy.act(PROMPTS)
    for action, fresh in zip(actions, policy.logprobs(PROMPTS, actions), strict=True):
        np.testing.assert_allclose(action.logprobs, fresh, atol=2e-4)
    alone = [policy.act([one])[0] for one in PROMPTS]
    assert [one.token_ids for one in alone] == [one.token_ids for one in actions]


def test_the_picture_changes_what_is_said(folder: Path) -> None:
    policy = load_policy(folder, max_new_tokens=3, constrained=False)
    action = policy.act([prompt(RED)])[0]
    red, blue = policy.logprobs([prompt(RED), prompt(BLUE)], [action, action])
    assert np.abs(red - blue).max() > 1e-5


def test_trainers_score_what_was_sampled_by_the_same_numbers(folder: Path) -> None:
    policy = load_policy(folder, max_new_tokens=4, constrained=False)
    episodes = []
    for image, seed in ((RED, 0), (BLUE, 1)):
        first = Observation("a screen", image=image)
        asked = Prompt((Message("user", "a screen", image=image),), first, seed=(seed,))
        turn = Turn(first, policy.act([asked])[0], 0.0)
        second = Observation("click the red circle", image=BLUE)
        messages = (*asked.messages, Message("assistant", turn.action.text, turn.action))
        again = Prompt((*messages, Message("user", second.text, image=BLUE)), second, seed=(seed, 1))
        last = Turn(second, policy.act([again])[0], 1.0)
        episodes.append(Trajectory("x", "t", 0, "", (turn, last), Stop.TERMINATED))
    samples = [sample for one in episodes for sample in samples_of(one, policy.chat, None)]
    assert [len(sample.images) for sample in samples] == [2, 2]
    model = policy.model
    scores = score_tokens(model, collate(samples, vocabulary_size(model)).to(model.device))
    recorded = np.concatenate([sample.logprobs_n for sample in samples])
    np.testing.assert_allclose(scores.logprobs_N.detach().cpu().numpy(), recorded, atol=2e-4)
    scores.logprobs_N.sum().backward()
    eyes = [p.grad for name, p in model.named_parameters() if "vis" in name and p.grad is not None]
    assert eyes and max(float(grad.abs().max()) for grad in eyes) > 0
    torch.testing.assert_close(  # a token that is masked counts nothing
        score_tokens(
            model,
            collate([samples[0].keeping(np.arange(len(samples[0].sampled_n)) < 2)], vocabulary_size(model)).to(
                model.device
            ),
        ).logprobs_N,
        scores.logprobs_N[:2],
        atol=2e-4,
        rtol=0,
    )


def test_a_model_never_says_the_id_of_a_picture(folder: Path) -> None:
    policy = load_policy(folder, max_new_tokens=4, constrained=False, temperature=50.0)
    eyes = eyes_of(policy.model)
    assert eyes is not None
    said = {token for seed in range(20) for token in policy.act([prompt(RED, seed=seed)])[0].token_ids}
    assert eyes.image_id not in said


def test_a_folder_is_written_and_read_again(folder: Path, tmp_path: Path) -> None:
    from sparring.trainers.checkpoint import write_model

    policy = load_policy(folder, max_new_tokens=4, constrained=False, greedy=True)
    write_model(policy.model, policy.tokenizer, tmp_path / "again")
    again = load_policy(tmp_path / "again", max_new_tokens=4, constrained=False, greedy=True)
    assert again.act(PROMPTS) == policy.act(PROMPTS)


def test_decoding_is_held_to_the_admissible_actions(tmp_path: Path) -> None:
    policy = load_policy(llava(tmp_path / "eyes"), max_new_tokens=8)
    asked = replace(
        prompt(RED), observation=Observation("", ActionSet(("a screen", "click the red circle")), image=RED)
    )
    action = policy.act([asked])[0]
    assert action.constrained and action.text in ("a screen", "click the red circle")
    np.testing.assert_allclose(action.logprobs, policy.logprobs([asked], [action])[0], atol=2e-4)


def test_a_model_of_text_does_not_see(tmp_path: Path) -> None:
    model, tokens = load_model(build_tiny(TEXTS, tmp_path / "text", hidden=32, layers=1, heads=2, vocabulary=300))
    policy = policy_on(model, tokens, max_new_tokens=4, constrained=False)
    assert type(policy) is HFPolicy
    assert policy.act([prompt(RED)]) == policy.act([prompt(None)])
    with pytest.raises(InvalidConfig, match="no eyes"):
        VisionPolicy(model, tokens)


def test_equal_arguments_give_equal_models(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first, _ = load_model(llava(tmp_path / "a"))
    torch.manual_seed(2)
    second, _ = load_model(llava(tmp_path / "b"))
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_an_unknown_family_is_named(tmp_path: Path) -> None:
    path = llava(tmp_path / "eyes")
    config = json.loads((path / "config.json").read_text())
    model, tokens = load_model(path)
    eyes = eyes_of(model)
    assert eyes is not None
    assert config["model_type"] == "llava"
    model.config.model_type = "fuyu"
    with pytest.raises(InvalidConfig, match="fuyu"):
        type(eyes)(model.config, eyes.processor, tokens)


def test_a_tower_without_a_class_token(tmp_path: Path) -> None:
    policy = load_policy(siglip(tmp_path / "eyes"), max_new_tokens=2, constrained=False)
    assert policy.chat.eyes is not None and len(policy.chat.eyes.tokens(RED)) == 16
    actions = policy.act([prompt(RED, seed=seed) for seed in range(2)])
    assert [len(action.token_ids) for action in actions] == [2, 2]
    eyes = eyes_of(policy.model)
    assert eyes is not None
    policy.model.config.vision_config.model_type = "pixtral"
    with pytest.raises(InvalidConfig, match="pixtral"):
        type(eyes)(policy.model.config, None, None)


def test_what_does_not_see_says_so(tmp_path: Path) -> None:
    from sparring.agents.models.critic import trunk_of
    from sparring.settings import AgentConfig
    from sparring.trainers.checkpoint import Learner
    from sparring.trainers.optim import OptimConfig, build_optimizer

    model, tokens = load_model(llava(tmp_path / "eyes"))
    with pytest.raises(InvalidConfig, match="does not see"):
        trunk_of(model)
    with pytest.raises(InvalidConfig, match="no pictures"):
        Learner(model, tokens, build_optimizer(model, OptimConfig())).policy(AgentConfig(engine="vllm"))
