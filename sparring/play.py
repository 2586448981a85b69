"""A person plays an environment in the terminal."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium

from sparring.types import ActionSet

HELP = "Type an action, the number of one, :actions to list them again, or :quit."


def describe_actions(actions: ActionSet | None) -> str:
    """Numbered choices and the open forms, one a line."""
    if actions is None:
        return "  (anything goes)"
    lines = [f"  {form.prefix}…{form.suffix}" for form in actions.forms]
    lines += [f"  {number:>3}  {choice}" for number, choice in enumerate(actions.choices, 1)]
    return "\n".join(lines) or "  (nothing is admissible)"


def resolve(typed: str, actions: ActionSet | None) -> str:
    """The action meant: a number stands for the choice with that number, anything else for itself."""
    if actions is not None and typed.isdigit() and 1 <= int(typed) <= len(actions.choices):
        return actions.choices[int(typed) - 1]
    return typed


def play(
    env: gymnasium.Env[str, str],
    *,
    seed: int = 0,
    options: dict[str, str] | None = None,
    ask: Callable[[str], str] = input,
    show: Callable[[str], None] = print,
) -> float:
    """Play one episode and return its total reward.

    Args:
        ask: prompts for a line and returns it; EOFError and KeyboardInterrupt end the game.
        show: prints a piece of text.
    """
    text, info = env.reset(seed=seed, options=options)
    show(HELP)
    total = 0.0
    while True:
        show("\n" + text.replace(" [SEP] ", "\n"))
        actions = info.get("actions")
        show(describe_actions(actions))
        try:
            typed = ask("> ").strip()
            while typed in ("", ":actions", ":help"):
                show(HELP if typed != ":actions" else describe_actions(actions))
                typed = ask("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typed = ":quit"
        if typed == ":quit":
            show(f"\nYou left with a total reward of {total:g}.")
            return total
        text, reward, terminated, truncated, info = env.step(resolve(typed, actions))
        total += float(reward)
        if info.get("no_op"):
            show(f"(nothing happened: {info['no_op']})")
        if terminated or truncated:
            show("\n" + text.replace(" [SEP] ", "\n"))
            end = "The end" if terminated else "Out of turns"
            score = f", score {info['score']:g}" if "score" in info else ""
            show(f"\n{end}: total reward {total:g}{score}{', success!' if info.get('success') else '.'}")
            return total
