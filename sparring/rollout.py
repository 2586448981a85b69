"""The one collector: `rollout` and `rollout_async` drive episodes (`sparring.episode`).

`rollout` advances many in lock-step, so that every open `Act` goes into one batch. `rollout_async` lets each
environment run free and hands the policy whatever has gathered, so that slow environments hold nobody up.

A failed environment is data: a trajectory with `error`, and a fresh environment in its place. A failed policy
raises. Equal starts give equal trajectories from both drivers as long as the policy's answer depends on the
prompt and its seed alone; an engine whose logits shift with the make-up of a batch can still differ in the
last bits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from sparring.agents.policy import act_async, check_actions
from sparring.envs.pool import EnvPool, EnvThread
from sparring.episode import Act, Effect, Reset, Step, episode, perform
from sparring.episode import Setting as Setting
from sparring.episode import Start as Start
from sparring.errors import EnvFailed
from sparring.garbage import rare_collection
from sparring.types import Action, Policy, Prompt, Stop, Trajectory


class _Run:
    """One episode in flight in one environment of the pool."""

    def __init__(self, index: int, start: Start, setting: Setting, version: int) -> None:
        self.index = index
        self.key = f"{index}:{start.seed}:{start.sampling_seed}"
        self.generator = episode(start, setting, key=self.key, policy_version=version)
        self.effect: Effect | None = next(self.generator)
        self.result: Trajectory | None = None

    def send(self, value: Any) -> None:
        self._advance(lambda: self.generator.send(value))

    def fail(self, error: EnvFailed) -> None:
        self._advance(lambda: self.generator.throw(error))

    def _advance(self, resume: Callable[[], Effect]) -> None:
        try:
            self.effect = resume()
        except StopIteration as end:
            self.effect, self.result = None, end.value

    @property
    def failed(self) -> bool:
        return self.result is not None and self.result.stop is Stop.ENV_ERROR


def _forget(policy: Policy, run: _Run) -> None:
    forget = getattr(policy, "forget", None)
    if forget is not None:
        forget(run.key)


@rare_collection()
def rollout(
    policy: Policy,
    pool: EnvPool,
    starts: Iterable[Start],
    setting: Setting,
    *,
    on_finish: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Collect one trajectory for each start, in lock-step over the pool's environments.

    Under a `step_timeout_s` environments run free instead (`rollout_async`): only one in a thread of its own can be
    left behind. As soon as an environment's episode ends it begins the next start, so the batch stays full until the
    starts run out.

    Args:
        policy: is asked once a round for all environments that wait for an action.
        pool: environments to play in; failed ones are replaced in place.
        starts: the episodes to play. setting: what they share.
        on_finish: called with each trajectory as its episode ends (for progress bars and for saving).
    Returns:
        Trajectories in the order of `starts`.
    Raises:
        Whatever the policy raises.
    """
    if setting.step_timeout_s is not None:
        return rollout_async(policy, pool, list(starts), setting, on_finish=on_finish)
    waiting = list(enumerate(starts))[::-1]
    done: dict[int, Trajectory] = {}
    running: list[_Run | None] = [None] * len(pool)
    while waiting or any(running):
        acting: list[_Run] = []
        for slot in range(len(pool)):
            run = running[slot]
            while True:
                if run is None:
                    if not waiting:
                        break
                    run = _Run(*waiting.pop(), setting, policy.version)
                if isinstance(run.effect, (Reset, Step)):
                    _advance_env(run, pool, slot)
                if run.result is not None:
                    done[run.index] = run.result
                    _forget(policy, run)
                    if on_finish is not None:
                        on_finish(run.result)
                    run = None
                    continue
                if isinstance(run.effect, Act):
                    acting.append(run)
                    break
            running[slot] = run
        if acting:
            prompts = [run.effect.prompt for run in acting if isinstance(run.effect, Act)]
            for run, action in zip(acting, check_actions(policy, prompts, policy.act(prompts)), strict=True):
                run.send(action)
    return [done[index] for index in sorted(done)]


def _advance_env(run: _Run, pool: EnvPool, slot: int) -> None:
    assert isinstance(run.effect, (Reset, Step))
    try:
        run.send(perform(pool.envs[slot], run.effect))
    except EnvFailed as error:
        run.fail(error)
    if run.failed:
        pool.replace(slot)


async def stream(
    policy: Policy,
    pool: EnvPool,
    starts: Iterable[Start],
    setting: Setting,
) -> AsyncIterator[tuple[int, Trajectory]]:
    """Collect asynchronously and yield `(index of the start, trajectory)` as episodes end.

    Each environment steps in a thread of its own and waits for no other. Requests to the policy that gather
    while it is busy form its next batch; one with the attribute `concurrent` is sent each at once, on its own.

    Raises:
        Whatever the policy raises.
    """
    waiting = list(enumerate(starts))[::-1]
    requests: asyncio.Queue[tuple[Prompt, asyncio.Future[Action]]] = asyncio.Queue()
    finished: asyncio.Queue[tuple[int, Trajectory]] = asyncio.Queue()
    expected = len(waiting)
    answering: set[asyncio.Task[None]] = set()

    async def answer(batch: list[tuple[Prompt, asyncio.Future[Action]]]) -> None:
        try:
            actions = await act_async(policy, [prompt for prompt, _ in batch])
        except asyncio.CancelledError:
            raise  # swallowed, it would leave `serve` waiting for ever
        except BaseException as error:
            for _, waiter in batch:
                if not waiter.done():
                    waiter.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            return
        for (_, waiter), action in zip(batch, actions, strict=True):
            if not waiter.done():
                waiter.set_result(action)

    async def serve() -> None:
        while True:
            batch = [await requests.get()]
            while not requests.empty():
                batch.append(requests.get_nowait())
            if getattr(policy, "concurrent", False):
                for request in batch:
                    task = asyncio.create_task(answer([request]))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
            else:
                await answer(batch)

    async def play(slot: int) -> None:
        loop = asyncio.get_running_loop()
        thread = EnvThread(f"env-{slot}")
        try:
            while waiting:
                run = _Run(*waiting.pop(), setting, policy.version)
                while run.result is None:
                    if isinstance(run.effect, Act):
                        answer: asyncio.Future[Action] = loop.create_future()
                        requests.put_nowait((run.effect.prompt, answer))
                        run.send(await answer)
                        continue
                    assert run.effect is not None
                    hangs = False
                    try:
                        work = asyncio.wrap_future(thread.call(perform, pool.envs[slot], run.effect))
                        # Not wait_for: before Python 3.12 it may swallow a cancellation that meets its result.
                        async with asyncio.timeout(setting.step_timeout_s):
                            outcome = await work
                        run.send(outcome)
                    except EnvFailed as error:
                        run.fail(error)
                    except TimeoutError:
                        hangs = True
                        run.fail(
                            EnvFailed(f"no answer within {setting.step_timeout_s} s: the environment was abandoned")
                        )
                        thread.stop()
                        thread = EnvThread(f"env-{slot}")
                    if run.failed:
                        await asyncio.to_thread(pool.replace, slot, close=not hangs)
                _forget(policy, run)
                finished.put_nowait((run.index, run.result))
        finally:
            thread.stop()

    tasks = [asyncio.create_task(play(slot)) for slot in range(min(len(pool), expected))]
    server = asyncio.create_task(serve())
    try:
        for _ in range(expected):
            getter = asyncio.create_task(finished.get())
            while not getter.done():
                await asyncio.wait(
                    {getter, *(task for task in tasks if not task.done())}, return_when="FIRST_COMPLETED"
                )
                for task in tasks:
                    if task.done() and task.exception() is not None:
                        getter.cancel()
                        await task
            yield getter.result()
    finally:
        left = (*tasks, server, *answering)
        for task in left:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*left, return_exceptions=True)


@rare_collection()
def rollout_async(
    policy: Policy,
    pool: EnvPool,
    starts: Sequence[Start],
    setting: Setting,
    *,
    on_finish: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Like `rollout`, with environments that run free (see `stream` for the rest of the arguments).

    Raises:
        RuntimeError: called from inside a running event loop; use `stream` there.
    """

    async def collect() -> list[Trajectory]:
        done: dict[int, Trajectory] = {}
        async for index, trajectory in stream(policy, pool, starts, setting):
            done[index] = trajectory
            if on_finish is not None:
                on_finish(trajectory)
        return [done[index] for index in sorted(done)]

    return asyncio.run(collect())
