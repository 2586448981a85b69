"""A person plays an environment in the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import gymnasium

from sparring.types import ActionSet

HELP = "Type an action, the number of one, :actions to list them again, or :quit."
HELP_WITHOUT_NUMBERS = "Type an action, :actions to list them again, or :quit."

# Control characters but tab and newline, marks that turn the direction of writing, and lone surrogates, which can't
# be encoded: an observation may hold any of them, and a terminal would obey them.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with everything that a terminal would obey spelt out (`\x1b`)."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def describe_actions(actions: ActionSet | None) -> str:
    """Numbered choices and the open forms, one a line."""
    if actions is None:
        return "  (anything goes)"
    lines = [f"  {form.prefix}…{form.suffix}" for form in actions.forms]
    if _numbered(actions):
        lines += [f"  {number:>3}  {choice}" for number, choice in enumerate(actions.choices, 1)]
    elif actions.choices:
        lines.append("  " + " ".join(actions.choices))
    return "\n".join(lines) or "  (nothing is admissible)"


def _numbered(actions: ActionSet | None) -> bool:
    """Whether a number stands for a choice: not where choices are numbers themselves, such as guesses."""
    return actions is not None and not any(choice.isdecimal() for choice in actions.choices)


def resolve(typed: str, actions: ActionSet | None) -> str:
    """The action meant: a number stands for the choice with that number, anything else for itself."""
    if actions is not None and _numbered(actions) and typed.isdecimal() and 1 <= int(typed) <= len(actions.choices):
        return actions.choices[int(typed) - 1]
    return typed


def ask_aloud(prompt: str) -> str:
    """Like `input`; a line that comes from a pipe is shown, so that the transcript reads as it would when typed."""
    line = input(prompt)
    if not sys.stdin.isatty():
        print(line)
    return line


def play(
    env: gymnasium.Env[str, str],
    *,
    seed: int = 0,
    options: dict[str, str] | None = None,
    ask: Callable[[str], str] = ask_aloud,
    show: Callable[[str], None] = print,
) -> float:
    """Play one episode and return its total reward.

    Args:
        ask: prompts for a line and returns it; EOFError and KeyboardInterrupt end the game.
        show: prints a piece of text.
    """
    text, info = env.reset(seed=seed, options=options)

    def tell(text: str) -> None:
        show(printable(text))

    def help() -> str:
        return HELP if actions is None or _numbered(actions) else HELP_WITHOUT_NUMBERS

    actions = info.get("actions")
    tell(help())
    task = str(info.get("instruction", "")).strip()
    if task and task not in text:  # a policy is told it in its prompt
        tell("\n" + task)
    total = 0.0
    while True:
        tell("\n" + text.replace(" [SEP] ", "\n"))
        actions = info.get("actions")
        tell(describe_actions(actions))
        try:
            typed = ask("> ").strip()
            while typed in ("", ":actions", ":help"):
                tell(help() if typed != ":actions" else describe_actions(actions))
                typed = ask("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typed = ":quit"
        if typed == ":quit":
            tell(f"\nYou left with a total reward of {total:g}.")
            return total
        text, reward, terminated, truncated, info = env.step(resolve(typed, actions))
        total += float(reward)
        if info.get("no_op"):
            tell(f"(nothing happened: {info['no_op']})")
        if terminated or truncated:
            tell("\n" + text.replace(" [SEP] ", "\n"))
            end = "The end" if terminated else "Out of turns"
            score = f", score {info['score']:g}" if "score" in info else ""
            tell(f"\n{end}: total reward {total:g}{score}{', success!' if info.get('success') else '.'}")
            return total
