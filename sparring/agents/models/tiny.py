"""A language model small enough to train on a CPU in minutes, saved as an ordinary Hugging Face folder.

A Llama with tied embeddings, built from a config with random weights, and a byte-level BPE trained on texts of the
environment that it will act in. Words keep one token whether or not punctuation follows, a space goes with the word
after it (or the mark, where the texts show that), and each punctuation mark stands alone, so that a word in an
instruction and the same word in a list of options meet as the same token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from sparring.agents.models.folders import complete_folder
from sparring.errors import InvalidConfig, need

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# A run of letters or up to three digits, with the space before it; one punctuation mark, likewise; other space.
_WORDS = r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s"


def build_tiny(
    texts: Iterable[str],
    folder: str | Path,
    *,
    vocabulary: int = 2048,
    hidden: int = 256,
    layers: int = 4,
    heads: int = 4,
    special_tokens: Sequence[str] = (),
    max_context: int = 2048,
    seed: int = 0,
) -> Path:
    """Train a tokenizer, initialise a model, and save both. Equal arguments give equal files.

    Args:
        texts: what the environment says and what may be said to it; the tokenizer is trained on them.
        folder: where to save. An existing complete folder is left alone and returned.
        vocabulary: size of the vocabulary at most, control tokens and `special_tokens` included; fewer where the
            texts are short. At least 261 and the special tokens: every byte has a token, so any text encodes.
        hidden, layers, heads: shape of the model; the feed-forward part is 8/3 of `hidden`, rounded up to 32.
        special_tokens: texts that get a token of their own, such as `[0]` for index tags. They are ordinary text
            (not control tokens) and take the space before them along, so none stands alone.
        max_context: longest sequence in tokens.
        seed: of the weights, drawn without touching torch's global generator.
    Raises:
        InvalidConfig: a vocabulary too small, or `hidden` not a multiple of `heads`.
        MissingExtra: transformers or tokenizers is not installed.
    """
    if hidden % heads or (hidden // heads) % 2:
        raise InvalidConfig(f"hidden ({hidden}) must be an even multiple of heads ({heads})")
    with complete_folder(Path(folder)) as partial:
        if partial is not None:
            tokenizer = train_tokenizer(texts, vocabulary=vocabulary, special_tokens=special_tokens)
            tokenizer.model_max_length = max_context
            model = _initialise(tokenizer, hidden, layers, heads, max_context, seed)
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
    return Path(folder)


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, special_tokens: Sequence[str] = ()) -> Any:
    """Train the byte-level BPE with its chat template; a `transformers` tokenizer.

    Raises:
        InvalidConfig: a vocabulary too small for bytes, control tokens and `special_tokens`.
    """
    tokenizers = need("tokenizers", "train")
    transformers = need("transformers", "train")
    control = [PAD, END, SYSTEM, USER, ASSISTANT]
    room = vocabulary - len(special_tokens)
    if room < 256 + len(control):
        least = 256 + len(control) + len(special_tokens)
        raise InvalidConfig(
            f"vocabulary must be at least {least} (bytes, control and special tokens), got {vocabulary}"
        )
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(_WORDS), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=2,
        special_tokens=control,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        padding_side="left",
    )
    tokenizer.add_tokens([tokenizers.AddedToken(text, lstrip=True, normalized=False) for text in special_tokens])
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _initialise(tokenizer: Any, hidden: int, layers: int, heads: int, max_context: int, seed: int) -> Any:
    transformers = need("transformers", "train")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=math.ceil(hidden * 8 / 3 / 32) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # The library draws initial weights from the global generator, whose state is put back here.
    with torch.random.fork_rng(devices=[]):
        model = transformers.LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, config.initializer_range, generator=generator)
    return model.eval()
