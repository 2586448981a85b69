"""A memory of reflections, and a policy that is reminded of those which fit what it sees.

    memory = Memory(policy.embed, read(run / "reflections.jsonl.zst"))
    reminded = Reminded(policy, memory, exclude=frozenset({"test-17"}))

Lessons carry the task and the split that they come from: what was learned on a task that is tested on gives that task
away, so exclude it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparring import trajectories
from sparring.search.reflection import Reflection, key_of
from sparring.types import Action, Message, Policy, Prompt

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]


class Memory:
    """Reflections, found again by what their keys mean.

    Args:
        embed: makes vectors of texts, float32 [N, D], such as `HFPolicy.embed`. Keys are embedded once: where what
            embeds them has learned since, make the memory anew. Hidden states of a language model are all somewhat
            alike (SmolLM2's of unrelated texts by a cosine of .8), so that a threshold made for a model of embeddings
            keeps nothing out; the order of the nearest is not touched by that.
        reflections: to begin with.
    """

    def __init__(self, embed: Embed, reflections: Iterable[Reflection] = ()) -> None:
        self._embed = embed
        self.reflections: list[Reflection] = []
        self._units_ND: npt.NDArray[np.float32] | None = None
        self.add(reflections)

    def __len__(self) -> int:
        return len(self.reflections)

    def add(self, reflections: Iterable[Reflection]) -> None:
        """Remember more."""
        new = list(reflections)
        if not new:
            return
        units_ND = unit(self._embed([one.key for one in new]))
        self._units_ND = units_ND if self._units_ND is None else np.concatenate([self._units_ND, units_ND])
        self.reflections += new

    def nearest(
        self, keys: Sequence[str], *, count: int = 2, least: float = 0.25, exclude: Collection[str] = ()
    ) -> list[list[Reflection]]:
        """For each key the reflections whose own keys are most like it, the most alike first; of equal ones the older.

        Args:
            count: how many at most. least: the cosine similarity that they have at least.
            exclude: ids of tasks of which nothing is to be known.
        """
        kept = [index for index, one in enumerate(self.reflections) if one.task not in exclude]
        if not kept or not keys or self._units_ND is None:
            return [[] for _ in keys]
        distinct = list(dict.fromkeys(keys))
        alike_KN = unit(self._embed(distinct)) @ self._units_ND[kept].T
        order_KN = np.argsort(-alike_KN, axis=1, kind="stable")[:, :count]
        found = {
            key: [self.reflections[kept[index]] for index in order_KN[row] if alike_KN[row, index] >= least]
            for row, key in enumerate(distinct)
        }
        return [found[key] for key in keys]


def unit(vectors_ND: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The vectors at length 1, float32 [N, D]; zeros stay zeros, and are like nothing."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1), dtype=np.float32)


def write(path: Path, reflections: Iterable[Reflection]) -> int:
    """Write a `.jsonl.zst` file of reflections atomically, and return how many it holds."""
    return trajectories.write_lines(path, map(trajectories.to_json, reflections))


def read(path: Path) -> list[Reflection]:
    """Read the reflections of a file, or of all those of a folder in the order of their names.

    Raises:
        InvalidData: nothing is there, or a line is no reflection; the message names file, line and field.
    """
    return list(
        trajectories.read_lines(path, lambda line: trajectories.parse(line, Reflection, "reflection"), "reflections")
    )


class Reminded:
    """A policy that is told, before each answer, what was learned from places like the one that it sees.

    The lessons go behind its system message, or before the rest of its prompt where it has none. An action says which
    prompt it was sampled under, and that is the one with the lessons in it: a trainer that rebuilds prompts without
    them refuses such episodes.

    Args:
        policy: answers. memory: of reflections.
        count, least, exclude: as for `Memory.nearest`.
    """

    def __init__(
        self,
        policy: Policy,
        memory: Memory,
        *,
        count: int = 2,
        least: float = 0.25,
        exclude: Collection[str] = (),
    ) -> None:
        self.policy, self.memory = policy, memory
        self.count, self.least, self.exclude = count, least, exclude

    @property
    def version(self) -> int:
        """That of the policy."""
        return self.policy.version

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """Remind the policy, and let it act."""
        keys = [key_of(prompt.instruction, prompt.observation.text) for prompt in prompts]
        found = self.memory.nearest(keys, count=self.count, least=self.least, exclude=self.exclude)
        return self.policy.act([reminded(prompt, some) for prompt, some in zip(prompts, found, strict=True)])

    def forget(self, episode: str) -> None:
        """Let the policy free what it keeps for an episode."""
        forget = getattr(self.policy, "forget", None)
        if forget is not None:
            forget(episode)


def reminded(prompt: Prompt, reflections: Sequence[Reflection]) -> Prompt:
    """The prompt with reflections in it."""
    if not reflections:
        return prompt
    notes = "\n".join(["What was learned from places like this one:", *(f"- {one.text}" for one in reflections)])
    first, *others = prompt.messages
    both = (first.content, notes) if first.role == "system" else (notes, first.content)
    return replace(prompt, messages=(Message(first.role, "\n\n".join(both)), *others))
