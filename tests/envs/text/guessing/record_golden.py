"""Rewrite `golden/*.json`, what the games answer in some episodes.

    python -m tests.envs.text.guessing.record_golden

Run it only after a deliberate change of facts or wording, then read the difference line by line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparring.registration import make

GOLDEN = Path(__file__).parent / "golden"

EPISODES: dict[str, list[dict[str, Any]]] = {
    "TwentyQuestions-v1": [
        {
            "task": "dev/giraffe",
            "options": {},
            "actions": [
                "Is it a living thing?", "Would I find it in a kitchen?", "Isn't it an animal?", "is it a mammal",
                "What is it?", "Question 6: Is it larger than a car?", "Do they live in Africa?", "Does it have wings?",
                "Is it an elephant?", "I think I know. Is it a giraffe?",
            ],
        },
        {
            "task": "train/rope",
            "options": {"show": "summary"},
            "actions": ["Is it inanimate?", "Can you eat it?", "Is it a tool?", "Is it used outdoors?", "A rope?"],
        },
        {
            "task": "test/owl",
            "options": {"actions": "listed", "show": "summary", "max_questions": 4},
            "actions": ["Is it a bird?", "Is it an eagle?", "Is it avian?", "Does it eat meat?"],
        },
    ],
    "GuessMyCity-v1": [
        {
            "task": "train/London",
            "options": {},
            "actions": [
                "Is the city in Europe?", "Is it located in the Southern Hemisphere?", "Do people speak English there?",
                "Is it an island city?", "Is it in London?", "Is it the capital of England?", "Is it a capital city?",
                "Has it hosted the Olympics?", "Is your city Paris?", "Is the city you're thinking of London?",
            ],
        },
        {
            "task": "train/Sao Paulo",
            "options": {"show": "summary"},
            "actions": ["Is it in the tropics?", "Is it a Brazilian city?", "Is it coastal?", "Is it São Paulo?"],
        },
    ],
}  # fmt: skip


def play(id: str, episode: dict[str, Any]) -> list[dict[str, Any]]:
    """What reset and every step showed."""
    env = make(id, **episode["options"])
    text, info = env.reset(seed=0, options={"task": episode["task"]})
    shown: list[dict[str, Any]] = [{"text": text, "instruction": info["instruction"]}]
    for action in episode["actions"]:
        text, reward, terminated, truncated, info = env.step(action)
        rest = {key: value for key, value in info.items() if key != "actions"}
        shown.append({"action": action, "text": text, "reward": reward, "over": [terminated, truncated], "info": rest})
    return shown


def main() -> None:
    for id, episodes in EPISODES.items():
        played = [play(id, episode) for episode in episodes]
        path = GOLDEN / f"{id}.json"
        path.write_text(json.dumps(played, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
