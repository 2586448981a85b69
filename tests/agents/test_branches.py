"""Branches of one text in one pass: as if each stood alone, and refused where a decoder can't do that."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

from sparring.agents.models.branches import read_branches, takes_branches
from sparring.agents.models.critic import CausalReader, trunk_of
from sparring.agents.models.tiny import build_tiny

IDS = st.lists(st.integers(3, 60), min_size=1, max_size=9).map(lambda ids: np.array(ids, dtype=np.int64))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CausalReader:
    folder = tmp_path_factory.mktemp("branches")
    build_tiny(["a text of some words"], folder, vocabulary=300, hidden=32, layers=2, heads=2, max_context=128)
    return CausalReader(trunk_of(AutoModelForCausalLM.from_pretrained(folder)).eval())


@given(stems=st.lists(st.tuples(IDS, st.lists(IDS, min_size=1, max_size=4)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_branch_is_read_as_if_it_stood_alone(
    reader: CausalReader, stems: list[tuple[np.ndarray, list[np.ndarray]]]
) -> None:
    texts, branches = [stem for stem, _ in stems], [own for _, own in stems]
    with torch.no_grad():
        stem_BD, branch_ND = read_branches(reader.trunk, texts, branches)
        repeated = [text for text, own in stems for _ in own]
        alone_ND, said_ND = reader.read(repeated, [one for own in branches for one in own])
    firsts = np.cumsum([0, *map(len, branches)])[:-1]
    torch.testing.assert_close(branch_ND, said_ND, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stem_BD, alone_ND[firsts], atol=1e-5, rtol=1e-4)


def test_a_reader_that_can_t_reads_them_apart(reader: CausalReader) -> None:
    assert takes_branches(reader.trunk)
    apart = copy.copy(reader)
    apart._takes_branches = False
    texts = [np.array([5, 6, 7]), np.array([8])]
    branches = [[np.array([9]), np.array([10, 11])], [np.array([12, 13])]]
    with torch.no_grad():
        both = zip(apart.read_siblings(texts, branches), reader.read_siblings(texts, branches), strict=True)
        for found, expected in both:
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_windows_that_slide_are_refused() -> None:
    config = Gemma3TextConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=32, sliding_window=4,
    )  # fmt: skip
    assert not takes_branches(Gemma3ForCausalLM(config).eval().model)


def test_a_decoder_without_the_mask_is_refused(reader: CausalReader) -> None:
    class Deaf(torch.nn.Module):
        """Takes any mask, and ignores it."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.config = reader.trunk, reader.trunk.config

        def forward(self, input_ids: torch.Tensor, use_cache: bool, **ignored: object) -> object:
            return self.trunk(input_ids=input_ids, use_cache=use_cache)

    assert not takes_branches(Deaf())
