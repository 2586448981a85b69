"""Does an environment keep the conventions that policies, trainers and benchmarks rely on."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from sparring.envs.base import EnvType, TextEnv
from sparring.errors import CheckFailed, SparringError
from sparring.testing.outcome import Skipped, brief
from sparring.testing.subject import Seen, Subject, core, play, reset, step
from sparring.types import ActionSet

NONSENSE = (
    "",
    " ",
    "\x00",
    "[",
    "no such action 漢字 🦆",
    "'; DROP TABLE tasks; --",
    "../../etc/passwd",
    "{0.__class__} %s ${HOME}",
    "\ud800",  # half a surrogate pair: json.loads lets one in
    "x" * 1_000_000,
)


def check_final_observation(subject: Subject) -> None:
    """The last step returns the episode's last observation, and no new episode begins by itself."""
    with subject.opened() as env:
        firsts = set()
        ended = 0
        for seed in range(subject.seed, subject.seed + 8):
            _, seen = play(env, seed, max_turns=subject.max_turns)
            firsts.add(seen[0].text)
            if not seen[-1].terminated:
                continue
            ended += 1
            texts = {one.text for one in seen[:-1]}
            if len(texts) > 1 and seen[-1].text in firsts:
                raise CheckFailed(
                    f"the step that ended the episode returned the first observation of an episode, "
                    f"{brief(seen[-1].text)}. Return the last observation; the caller resets"
                )
            if "instruction" in seen[-1].info and "instruction" not in seen[-2].info:
                raise CheckFailed(
                    "the step that ended the episode returned the info of a reset. Return the info of the last step "
                    "(score and success are in it); the caller resets"
                )
        if not ended:
            raise Skipped(f"no random episode ended within {subject.max_turns} turns")


def check_conventions(subject: Subject) -> None:
    """The keys of info that policies, trainers and benchmarks read."""
    with subject.opened() as env:
        for seed in range(subject.seed, subject.seed + 4):
            _, seen = play(env, seed, max_turns=subject.max_turns)
            start, last = seen[0].info, seen[-1].info
            if not (isinstance(start.get("instruction"), str) and start["instruction"].strip()):
                raise CheckFailed(
                    f'reset() must give info["instruction"], the task in words, got {brief(start.get("instruction"))}'
                )
            if not (isinstance(start.get("task"), str) and start["task"]):
                raise CheckFailed(
                    f'reset() must give info["task"], the id of the task, got {brief(start.get("task"))}: results '
                    "are grouped by it"
                )
            cluster = start.get("cluster")
            if cluster is not None and not (isinstance(cluster, str) and cluster):
                raise CheckFailed(
                    f'info["cluster"] names in a string what the task shares with others, got {brief(cluster)}. '
                    "Leave it out where tasks share nothing"
                )
            for turn, one in enumerate(seen):
                _check_turn_info(one, turn)
            if seen[-1].terminated:
                score, success = last.get("score"), last.get("success")
                if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
                    raise CheckFailed(
                        f'the end of an episode must give info["score"], a number in [0, 1], got {brief(score)}'
                    )
                if not isinstance(success, bool):
                    raise CheckFailed(
                        f'the end of an episode must give info["success"], a bool, got {brief(success)} '
                        f"({type(success).__name__})"
                    )


def _check_turn_info(one: Seen, turn: int) -> None:
    actions = one.info.get("actions")
    if "expert" in one.info:
        raise CheckFailed('info["expert"] gives the solution away: only the wrapper named expert may set it')
    if actions is None:
        return
    if not isinstance(actions, ActionSet):
        raise CheckFailed(f'info["actions"] must be a sparring.ActionSet, got {brief(actions)} in turn {turn}')
    if len(set(actions.choices)) != len(actions.choices):
        twice = next(choice for choice in actions.choices if actions.choices.count(choice) > 1)
        raise CheckFailed(f"the action {twice!r} is listed twice in turn {turn}. Give each once")


def check_admissible_actions(subject: Subject) -> None:
    """What info lists as admissible is not answered by `no_op`."""
    with subject.opened() as env:
        actions, seen = play(env, subject.seed, max_turns=subject.max_turns)
        if seen[0].info.get("actions") is None:
            raise Skipped("the environment lists no actions")
        for action, before, after in zip(actions, seen[:-1], seen[1:], strict=True):
            allowed = before.info.get("actions")
            if after.info.get("no_op") and isinstance(allowed, ActionSet) and action in allowed.choices:
                raise CheckFailed(
                    f"{action!r} was listed as admissible and then reported as a no-op ({brief(after.info['no_op'])}). "
                    "List only what does something"
                )


def check_nonsense(subject: Subject) -> None:
    """Nonsense is a no-op reported in info, never an exception."""
    with subject.opened() as env:
        seen = reset(env, subject.seed)
        for action in NONSENSE:
            if seen.over:
                seen = reset(env, subject.seed)
            allowed = seen.info.get("actions")
            try:
                following = step(env, action)
            except CheckFailed:
                raise
            except Exception as error:
                raise CheckFailed(
                    f"step({brief(action)}) raised {type(error).__name__}: {error}. A policy may say anything: "
                    'return the observation unchanged with info["no_op"]'
                ) from error
            if isinstance(allowed, ActionSet) and not allowed.admits(action):
                _require_no_op(action, allowed, following)
            seen = following


def _require_no_op(action: str, allowed: ActionSet, following: Seen) -> None:
    if not following.info.get("no_op"):
        raise CheckFailed(
            f'step({brief(action)}) is not admissible and yet info["no_op"] is not set. Report the no-op there'
        )
    if not following.over and following.info.get("actions") != allowed:
        raise CheckFailed(
            f"step({brief(action)}) is not admissible and yet the admissible actions changed from {brief(allowed)} to "
            f"{brief(following.info.get('actions'))}. A no-op leaves the state as it is"
        )


def check_tasks(subject: Subject) -> None:
    """Splits and tasks: stable, distinct, and what reset's options ask for is what is played."""
    with subject.opened() as env, subject.opened() as fresh:
        inner = core(env)
        if not inner.splits:
            raise CheckFailed("the class names no splits. Set `splits`, the training split first")
        for split in inner.splits:
            ids = list(inner.task_ids(split))
            if not ids:
                raise CheckFailed(f'the split "{split}" has no tasks')
            if len(set(ids)) != len(ids):
                raise CheckFailed(f'the split "{split}" names a task twice')
            if ids != list(core(fresh).task_ids(split)):
                raise CheckFailed(f'a fresh environment has other tasks in the split "{split}", or another order')
            for task in {ids[0], ids[-1]}:
                info = reset(env, subject.seed, {"task": task}).info
                found, cluster = info.get("task"), info.get("cluster")
                if found != task:
                    raise CheckFailed(f'reset(options={{"task": {task!r}}}) played info["task"] = {found!r}')
                other = reset(env, subject.seed + 1, {"task": task}).info.get("cluster")
                if cluster != other:
                    raise CheckFailed(
                        f'info["cluster"] of the task {task!r} was {brief(cluster)} and with another seed '
                        f"{brief(other)}. Name what the task itself shares with others"
                    )
            drawn = reset(env, subject.seed, {"split": split}).info.get("task")
            if drawn not in ids:
                raise CheckFailed(f'reset(options={{"split": {split!r}}}) played {drawn!r}, which is not in it')
        _require_disjoint(inner)
        for wrong in ({"task": "no such task"}, {"split": "no such split"}):
            _require_refusal(env, wrong)


def _require_disjoint(inner: TextEnv) -> None:
    for one, other in combinations(inner.splits, 2):
        shared = set(inner.task_ids(one)) & set(inner.task_ids(other))
        if shared:
            raise CheckFailed(
                f'the splits "{one}" and "{other}" share {len(shared)} tasks, such as {min(shared)!r}: what is '
                "trained on would be tested on"
            )


def _require_refusal(env: EnvType, options: dict[str, Any]) -> None:
    try:
        env.reset(seed=0, options=options)
    except SparringError:
        return
    except Exception as error:
        raise CheckFailed(
            f"reset(options={options}) raised {type(error).__name__}: {error}. Let choose_task(options) pick the task: "
            "it raises UnknownName with the nearest names"
        ) from error
    raise CheckFailed(f"reset(options={options}) was accepted. Let choose_task(options) pick the task")


def check_expert(subject: Subject) -> None:
    """The expert says admissible actions, and asking it changes nothing."""
    with subject.opened() as env:
        inner = core(env)
        if type(inner).expert_action is TextEnv.expert_action:
            raise Skipped("there is no expert")
        for seed in range(subject.seed, subject.seed + 3):
            seen = reset(inner, seed)
            for turn in range(subject.max_turns):
                action = inner.expert_action()
                allowed = seen.info.get("actions")
                if isinstance(allowed, ActionSet) and not allowed.admits(action):
                    raise CheckFailed(f"the expert says {action!r} in turn {turn}, which is not admissible")
                if inner.expert_action() != action or inner.observe()[0] != seen.text:
                    raise CheckFailed(f"asking the expert in turn {turn} changed the state; let it only read")
                seen = step(inner, action)
                if seen.over:
                    break
