"""The environments with problems of our own, and episodes of them to record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparring.envs.text.reasoning.arithmetic import Arithmetic
from sparring.envs.text.reasoning.chain import Chain
from sparring.envs.text.reasoning.colouring import Colouring
from sparring.envs.text.reasoning.equations import Equations
from sparring.envs.text.reasoning.latin import LatinSquare
from sparring.envs.text.reasoning.logic.env import Logic
from sparring.envs.text.reasoning.ordering import Ordering, Sorting
from sparring.envs.text.reasoning.rewriting import Rewriting
from sparring.envs.text.reasoning.self_correction import SelfCorrection

GOLDEN = Path(__file__).parent / "golden.json"

MAKERS: dict[str, Callable[..., SelfCorrection[Any]]] = {
    "sum": Arithmetic,
    "product": lambda **options: Arithmetic(operation="product", digits=3, **options),
    "expression": lambda **options: Arithmetic(operation="expression", digits=1, terms=4, **options),
    "chain": Chain,
    "colouring": Colouring,
    "equations": Equations,
    "latin square": LatinSquare,
    "statements": Logic,
    "things": lambda **options: Logic(kind="things", connectives=1, **options),
    "ordering": Ordering,
    "rewriting": Rewriting,
    "sorting": Sorting,
}


def swapped(answer: str) -> str:
    """The answer with its first and last word exchanged: often wrong, and always of the asked form."""
    first, *between, last = answer.split() if " " in answer else (answer, answer)
    return " ".join([last, *between, first])


def episode(make: Callable[..., SelfCorrection[Any]]) -> list[list[Any]]:
    """What is shown and paid for a wrong-looking answer, half an answer, nonsense and a right one."""
    env = make(attempts=4, feedback="detail")
    text, info = env.reset(seed=0, options={"task": "test/3"})
    right = env.expert_action()
    shown: list[list[Any]] = [[text]]
    for said in (swapped(right), right[: len(right) // 2].strip() or right, "I do not know", right):
        text, reward, over, _, info = env.step(said)
        shown.append([said, text, reward, over, info["correct"], info["attempt"], info.get("no_op", "")])
    return shown


def episodes() -> dict[str, list[list[Any]]]:
    """One of each environment."""
    return {name: episode(make) for name, make in MAKERS.items()}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(episodes(), indent=1, ensure_ascii=False) + "\n")
