"""ScienceWorld: 30 kinds of school science experiments in a house of ten rooms (Wang et al., EMNLP 2022).

The simulator is the Java program of the PyPI package `scienceworld`; it is spoken to directly, because the package's
own class asks it for every valid action at every step, wanted or not, gives it no memory limit and leaves its port open
to every user of the machine.

What is not repeatable, seen by playing the same actions again: the order in which equal places list their objects, the
numbers of an ambiguous request, how bees move and what thermometers show to a degree, and the gold path itself.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from sparring.envs.base import Info, TextEnv
from sparring.errors import EnvFailed, InvalidConfig, need, unknown
from sparring.types import ActionSet, Form, SnapshotKind

_AMBIGUOUS = "Ambiguous request"
_NOT_UNDERSTOOD = ("No known action matches that input.", "Unknown action.")
_LONGEST_ACTION = 200
_CANCEL = "cancel"

# What the parser understands, and the gold paths use. `reset task` is left out: it takes back the progress.
_VERBS = (
    *("activate", "close", "connect", "deactivate", "disconnect", "drop", "dunk", "eat", "examine", "flush"),
    *("focus on", "go to", "look at", "look in", "mix", "move", "open", "pick up", "pour", "put down", "read", "use"),
)
_ALONE = ("inventory", "look around", "task", "wait", "wait1")
_FORMS = tuple(Form(f"{verb} ", "") for verb in _VERBS)
_TELEPORT = Form("teleport to ", "")


class Simulator:
    """The Java process and the calls to it. `close` ends it, as does losing the last reference to this object."""

    def __init__(self, memory_mb: int) -> None:
        constants: Any = need("scienceworld.constants", "scienceworld")
        py4j: Any = need("py4j.java_gateway", "scienceworld")
        try:
            port, token, self._process = py4j.launch_gateway(
                classpath=constants.JAR_PATH,
                cwd=constants.BASEPATH,
                javaopts=[f"-Xmx{memory_mb}m", "-XX:+UseSerialGC"],
                die_on_exit=True,
                enable_auth=True,
                return_proc=True,
            )
        except (OSError, ValueError) as error:  # no java at all, or one that ends before it has named its port
            raise EnvFailed(
                f"ScienceWorld needs Java 8 or newer as `java` (Debian: apt-get install default-jre-headless): {error}"
            ) from error
        parameters = py4j.GatewayParameters(auto_field=True, port=port, auth_token=token)
        gateway = py4j.JavaGateway(gateway_parameters=parameters, java_process=self._process)
        self._calls: Any = gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
        self.close = weakref.finalize(self, _end, gateway, self._process)
        self.kinds: tuple[str, ...] = tuple(constants.ID2TASK.values())

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one of the simulator's methods.

        Raises:
            EnvFailed: it raised, or the process is gone; either way it is ended.
        """
        try:
            return getattr(self._calls, name)(*arguments)
        except Exception as error:  # py4j raises a dozen kinds
            self.close()
            raise EnvFailed(f"ScienceWorld's {name}{arguments!r:.200} failed: {type(error).__name__}") from error

    def variations(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The package's own split: for each kind of task, the variations of train, dev and test."""
        found = {}
        for kind in self.kinds:
            self.call("load", kind, 0, "", False)
            splits = {"train": "getVariationsTrain", "dev": "getVariationsDev", "test": "getVariationsTest"}
            found[kind] = {split: tuple(int(one) for one in self.call(name)) for split, name in splits.items()}
        return found

    def score(self) -> float:
        """Progress in steps of 0.01, as the package rounds it; below 0 after a mistake that ends the task."""
        return round(100 * float(self.call("getScore"))) / 100

    def admissible(self) -> tuple[str, ...]:
        """All valid actions in one canonical wording each, sorted: the simulator's order changes from run to run."""
        valid = json.loads(self.call("getValidActionObjectCombinationsJSON"))["validActions"]
        return tuple(sorted({str(one["action"]) for one in valid} - {"reset task"}))


def _end(gateway: Any, process: Any) -> None:
    try:
        gateway.shutdown()
    finally:
        process.stdin.close()  # it ends when this pipe does
        try:
            process.wait(5)
        except Exception:  # subprocess.TimeoutExpired: it hangs
            process.kill()
            process.wait()


class ScienceWorld(TextEnv):
    """A science experiment; tasks are `kind/variation`, such as `boil/3`, split as the package splits them.

    The score is the package's, from 0 to 1; a mistake that ends the task (focusing on the wrong thing) makes it 0. The
    reward is the change of the score. Each environment has a Java process of its own, started when it is first needed:
    about two seconds and 300 MB.

    Args:
        kinds: of tasks, such as `("boil", "melt")`; all 30 by default.
        simplification: `easy` for all of the package's, or some, separated by commas: `teleportAction`, `openDoors`,
            `openContainers`, `selfWateringFlowerPots`, `noElectricalAction`.
        actions: what `info["actions"]` holds: `forms` are the 22 verbs with a free slot, and words that stand alone;
            `list` adds every action that the simulator calls valid, some 1,000 and up to 4,500, at three times the cost
            of a step. It lists things in closed containers too, which its own parser then refuses: `info["no_op"]`.
        memory_mb: the Java process's heap, at most.
    Raises:
        InvalidConfig: no such simplification or kind. MissingExtra: the package is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    deterministic: ClassVar[bool] = False
    snapshot_kind: ClassVar[SnapshotKind | None] = None

    _simplifications: ClassVar[tuple[str, ...]] = (
        ("easy", "teleportAction", "openDoors", "openContainers", "selfWateringFlowerPots", "noElectricalAction")
    )  # fmt: skip
    _variations: ClassVar[dict[str, dict[str, tuple[int, ...]]]] = {}  # the same for all; the simulator says them once

    def __init__(
        self,
        *,
        kinds: Sequence[str] = (),
        simplification: str = "",
        actions: Literal["forms", "list"] = "forms",
        memory_mb: int = 768,
    ) -> None:
        constants: Any = need("scienceworld.constants", "scienceworld")
        need("py4j.java_gateway", "scienceworld")
        for one in filter(None, simplification.split(",")):
            if one not in self._simplifications:
                raise InvalidConfig(f'simplification must be of {", ".join(self._simplifications)}; got "{one}"')
        if actions not in ("forms", "list"):
            raise InvalidConfig(f'actions must be "forms" or "list", got "{actions}"')
        for kind in kinds:
            if kind not in constants.ID2TASK.values():
                raise unknown("kind of task", kind, constants.ID2TASK.values())
        self.kinds = tuple(kinds) or tuple(constants.ID2TASK.values())
        self.simplification, self.listed, self.memory_mb = simplification, actions == "list", memory_mb
        teleports = simplification == "easy" or "teleportAction" in simplification
        self._open = ActionSet(_ALONE, (*_FORMS, _TELEPORT) if teleports else _FORMS)
        self._simulator: Simulator | None = None
        self._text, self._actions, self._score = "", self._open, 0.0
        self._task, self._moves, self._gold, self._said = "", 0, tuple[str, ...](), 0

    @property
    def simulator(self) -> Simulator:
        """The running simulator, started if need be."""
        if self._simulator is None or not self._simulator.close.alive:
            self._simulator = Simulator(self.memory_mb)
        return self._simulator

    def task_ids(self, split: str) -> list[str]:
        """`kind/variation`, the kinds in the package's order."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        if not self._variations:
            self._variations.update(self.simulator.variations())
        return [f"{kind}/{number}" for kind in self.kinds for number in self._variations[kind][split]]

    def observe(self) -> tuple[str, Info]:
        """What the last step returned."""
        return self._text, {"actions": self._actions}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task; the first observation is a look around."""
        super().reset(seed=seed)
        self._task = self.choose_task(options)
        self._load(gold=False)
        self._score, self._moves, self._gold, self._said = 0.0, 0, (), 0
        self._show(self.simulator.call("freeActionLook"))
        instruction = str(self.simulator.call("getTaskDescription")).strip()
        return self._text, self.observe()[1] | {"task": self._task, "instruction": f"{instruction}\n{self._said_how()}"}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Do `action`. What the parser does not understand takes a move and is reported in `info["no_op"]`."""
        if not self._actions.admits(action) or len(action) > _LONGEST_ACTION or not action.isprintable():
            return self._text, 0.0, False, False, self.observe()[1] | {"no_op": f"{action[:20]!r} is no action here"}
        if self._said < len(self._gold) and action == self._gold[self._said]:
            self._said += 1
        self._moves += 1
        simulator = self.simulator
        answer = str(simulator.call("step", "" if action == _CANCEL else action))
        raw = simulator.score()
        reward, self._score = max(raw, 0.0) - self._score, max(raw, 0.0)
        self._show(answer)
        info = self.observe()[1]
        if answer.startswith(_NOT_UNDERSTOOD) and action != _CANCEL:
            info["no_op"] = "not understood"
        over = bool(simulator.call("getCompleted")) or raw < 0
        if over:
            info |= {"score": self._score, "success": self._score >= 1}
        return self._text, reward, over, False, info

    def expert_action(self) -> str:
        """The next action of the package's gold path that has not been said yet; it does not find back by itself.

        The path is asked for when the expert is first asked, which takes from half a second to twelve, and begins the
        task's world once more. So it must be asked before the first action.

        Raises:
            EnvFailed: it is asked for the first time in the middle of an episode.
        """
        if not self._gold:
            if self._moves:
                raise EnvFailed("ask ScienceWorld's expert from the first turn on: its gold path begins there")
            self._load(gold=True)
            self._gold = tuple(str(one) for one in self.simulator.call("getGoldActionSequence"))
        return self._gold[self._said] if self._said < len(self._gold) else "look around"

    def close(self) -> None:
        """End the Java process."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _load(self, gold: bool) -> None:
        kind, _, number = self._task.partition("/")
        self.simulator.call("load", kind, int(number), self.simplification, gold)

    def _show(self, answer: str) -> None:
        self._text = re.sub(r" *\n", "\n", answer.replace("\t", "  ")).strip()
        if answer.startswith(_AMBIGUOUS):
            numbers = tuple(dict.fromkeys(re.findall(r"^(\d+):", answer, re.MULTILINE)))
            self._text = self._text.replace("(or blank to cancel)", f"(or {_CANCEL})")
            self._actions = ActionSet((*numbers, _CANCEL))
        else:
            choices = self.simulator.admissible() if self.listed else ()
            self._actions = ActionSet(tuple(dict.fromkeys((*_ALONE, *choices))), self._open.forms)

    def _said_how(self) -> str:
        verbs = ", ".join(form.prefix.strip() for form in self._open.forms)
        return f"Actions: {', '.join(_ALONE)}; with a thing after it: {verbs}."
