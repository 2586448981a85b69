"""MiniWoB++: resets are exact, rewards raw, experts win, seeds repeat themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.web.miniwob import tasks
from sparring.envs.web.miniwob.env import MiniWoB
from sparring.envs.web.miniwob.experts import EXPERTS
from sparring.errors import InvalidConfig, UnknownName

# A few for every day; the slow test takes all of them.
SOME = ("click-test", "enter-text", "click-tab-2", "use-slider", "click-collapsible")
# The whole body with what fields hold, and without what belongs to the frame around the task.
FINGERPRINT = """(() => { const body = document.body.cloneNode(true);
for (const one of body.querySelectorAll('#reward-display, #click-canvas, #sync-task-cover, script')) one.remove();
const fields = [...document.querySelectorAll('#wrap input, #wrap textarea, #wrap select')]
  .map((f) => [f.value, f.checked]);
const html = body.innerHTML.replace(/ data-tampered="[^"]*"/g, '').replace(/ui-id-[0-9]+/g, 'ui-id');
return JSON.stringify([html, fields, scrollY,
  [...document.querySelectorAll('#wrap *')].map((one) => one.scrollTop).filter(Boolean)]); })()"""


@pytest.fixture(scope="module")
def env(browser: None) -> Iterator[MiniWoB]:
    made = MiniWoB("all")
    yield made
    made.close()


def begun(env: MiniWoB, task: str) -> tuple[str, dict[str, Any], str]:
    text, info = env.reset(seed=0, options={"task": task})
    return text, info, env.call(env.session.tab.evaluate(FINGERPRINT))


def disturb(env: MiniWoB, seed: int, turns: int = 4) -> None:
    """Play another episode of the same task at random."""
    env.reset(seed=seed, options={"task": f"{env.name}/train/{900 + seed}"})
    for turn in range(turns):
        _, info = env.observe()
        choices = info["actions"].choices
        fills = [f"{form.prefix}abc" for form in info["actions"].forms if form.prefix.startswith("fill")]
        action = (
            (fills or choices)[turn % len(fills or choices)] if turn % 2 else choices[(7 * turn + seed) % len(choices)]
        )
        if env.step(action)[2]:
            break


def require_exact(env: MiniWoB, name: str) -> None:
    """An episode begins alike on a page just loaded, and after other episodes on it."""
    env.close()
    first = begun(env, f"{name}/train/5")
    for seed in (1, 2):
        disturb(env, seed)
        again = begun(env, f"{name}/train/5")
        assert again[1]["instruction"] == first[1]["instruction"]
        assert again[0] == first[0]
        assert again[2] == first[2]


@pytest.mark.parametrize("name", SOME)
def test_resets_are_exact(env: MiniWoB, name: str) -> None:
    require_exact(env, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", tasks.names() if importlib.util.find_spec("miniwob") else ())
def test_resets_of_all_tasks_are_exact(env: MiniWoB, name: str) -> None:
    require_exact(env, name)


@pytest.mark.parametrize("name", ["click-test-2", "click-button", "enter-text", "click-checkboxes", "choose-list"])
def test_experts_win(env: MiniWoB, name: str) -> None:
    for number in range(2):
        env.reset(seed=0, options={"task": f"{name}/test/{number}"})
        for _ in range(20):
            _, reward, done, _, info = env.step(env.expert_action())
            if done:
                break
        assert (reward, info["score"], info["success"]) == (1.0, 1.0, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERTS)
def test_all_experts_win(env: MiniWoB, name: str) -> None:
    won = 0.0
    for number in range(20):
        env.reset(seed=0, options={"task": f"{name}/train/{number}"})
        for _ in range(30):
            _, reward, done, _, _ = env.step(env.expert_action())
            if done:
                won += reward == 1.0
                break
    assert won == 20


def test_rewards_are_raw_and_do_not_decay(env: MiniWoB) -> None:
    env.reset(seed=0, options={"task": "click-test-2/train/0"})
    for _ in range(60):  # half a minute of the page's time
        assert env.step("wait")[1:3] == (0.0, False)
    assert env.step(env.expert_action())[1] == 1.0
    env.reset(seed=0, options={"task": "click-test-2/train/1"})
    wrong = env.look.find("button", "TWO")
    assert wrong is not None
    _, reward, done, _, info = env.step(f"click[{wrong.number}]")
    assert (reward, done, info["score"], info["success"]) == (-1.0, True, 0.0, False)


def test_animations_are_over_within_a_step(env: MiniWoB) -> None:
    text, _ = env.reset(seed=0, options={"task": "click-collapsible/train/3"})
    heading = next(node for node in env.look.nodes if node.number is not None)
    opened, *_ = env.step(f"click[{heading.number}]")
    assert opened != text
    assert env.step("wait")[0] == opened


def test_snapshots_replay(env: MiniWoB) -> None:
    env.reset(seed=0, options={"task": "enter-text/train/3"})
    env.step(env.expert_action())
    saved = snapshot(env)
    end = env.step(env.expert_action())
    restore(env, saved)
    assert env.step(env.expert_action())[:3] == end[:3]


def test_names_of_tasks(browser: None) -> None:
    made = MiniWoB("click-test, enter-text", train_tasks=3)
    ids = made.task_ids("train")
    assert list(ids) == [f"{name}/train/{n}" for n in range(3) for name in ("click-test", "enter-text")]
    assert ids[1:3] == ["enter-text/train/0", "click-test/train/1"]
    assert (
        "click-test/train/2" in ids
        and "click-test/train/3" not in ids
        and "click-test/test/0" not in ids
        and 3 not in ids
    )
    with pytest.raises(UnknownName, match=r"click-test"):
        MiniWoB("click-tset")
    with pytest.raises(InvalidConfig, match=r"twice"):
        MiniWoB("click-test,click-test")
    assert len(tasks.names()) == 130 and set(EXPERTS) | tasks.RELOADED <= set(tasks.names())
