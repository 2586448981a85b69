from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sparring.envs.pool import EnvPool
from sparring.envs.tools.calls import Call, write_calls
from sparring.envs.tools.mcp.env import MCP
from sparring.envs.tools.mcp.server import Server
from sparring.envs.tools.mcp.tasks import read_tasks
from sparring.envs.tools.schema import ToolError
from sparring.errors import EnvFailed, InvalidConfig, InvalidData
from sparring.rollout import Setting, Start, rollout
from sparring.testing import check_env
from sparring.types import Action, Prompt

pytest.importorskip("mcp")

RAW = [sys.executable, str(Path(__file__).with_name("raw_server.py"))]
NOTES = [sys.executable, str(Path(__file__).with_name("notes_server.py"))]
HIDDEN = ("show_all", "clear")
TASKS = [
    {
        "id": "milk",
        "instruction": "Note milk.",
        "setup": [{"tool": "add_note", "arguments": {"text": "eggs"}}],
        "checks": [{"tool": "show_all", "arguments": {}, "result": "eggs|milk"}],
    },
    {"id": "count", "split": "dev", "instruction": "How many notes are there after one more?", "answer": "1 notes"},
    {"id": "none", "split": "test", "instruction": "Leave it.", "checks": [{"tool": "fail", "result": "x"}]},
]


def say(tool: str, **arguments: object) -> str:
    return write_calls([Call(tool, arguments)], "hermes")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(json.dumps(task) for task in TASKS))
    return path


@pytest.fixture
def env(tasks: Path) -> Iterator[MCP]:
    made = MCP(NOTES, tasks, hidden=HIDDEN)
    yield made
    made.close()


def test_an_episode_by_hand_with_errors_and_a_flood(env: MCP) -> None:
    text, info = env.reset(options={"task": "milk"})
    assert text == "ready"
    assert '"name": "add_note"' in info["instruction"]
    assert "show_all" not in info["instruction"]
    for call, part in (
        (say("fail", why="too late"), "too late"),
        (say("add_note", txt="milk"), "text"),  # the server's own complaint about arguments
        (say("show_all"), "there is no tool 'show_all'"),
        ("<tool_call>{}</tool_call>", "must be an object with"),
    ):
        text, reward, terminated, _, info = env.step(call)
        assert part in text
        assert "error" in text
        assert (reward, terminated) == (0.0, False)
        assert info.get("tool_errors") == 1 or info["no_op"]

    text, *_ = env.step(say("flood"))
    assert len(text) < 5000
    assert text.count("</tool_response>") == 1  # its own
    assert "<|im_end|>" not in text
    assert "characters more" in text

    assert env.step(say("add_note", text="milk"))[0] == '<tool_response>"2 notes"</tool_response>'
    text, reward, terminated, _, info = env.step("Noted.")
    assert (text, reward, terminated, info["score"], info["success"]) == ("done", 1.0, True, 1.0, True)


def test_each_episode_has_a_server_of_its_own_and_an_answer_may_be_what_is_asked_for(env: MCP) -> None:
    for said, reward in (("There are 1 Notes.", 1.0), ("Two.", 0.0)):
        env.reset(options={"task": "count"})
        assert "1 notes" in env.step(say("add_note", text="x"))[0]
        assert env.step(said)[1] == reward


def test_a_server_that_hangs_costs_its_episode_only(tasks: Path) -> None:
    env = MCP(NOTES, tasks, hidden=HIDDEN)
    env.reset(options={"task": "milk"})
    assert env._server is not None
    env._server._call_timeout_s = 0.3
    with pytest.raises(EnvFailed, match="took longer than 0"):
        env.step(say("hang"))
    with pytest.raises(EnvFailed, match="reset"):
        env.step("again")
    env.close()


class KillsSome:
    """Calls `die` in every episode but that of seed 0."""

    version = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        return [Action(say("die") if prompt.seed[0] else "Nothing.") for prompt in prompts]


def test_a_run_goes_on_where_servers_die(tasks: Path) -> None:
    with EnvPool(lambda: MCP(NOTES, tasks, hidden=HIDDEN), 2) as pool:
        played = rollout(KillsSome(), pool, [Start(0, "milk"), Start(1, "milk")], Setting("sparring/MCP-v1"))
    assert [bool(one.error) for one in played] == [False, True]
    assert "is gone" in (played[1].error or "")


def test_a_server_that_does_not_start_is_named(tasks: Path) -> None:
    for flag in ("--mute", "--babble"):
        with pytest.raises(EnvFailed, match="did not start within 1 s"):
            Server([*NOTES, flag], start_timeout_s=1)
    with pytest.raises(InvalidConfig, match="no-such-program"):
        MCP("no-such-program --at-all", tasks)
    with pytest.raises(InvalidConfig, match="timeouts"):
        MCP(NOTES, tasks, call_timeout_s=0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "fault", ["a schema that says null", "a schema that refers to itself", "a pattern that takes years"]
)
def test_what_a_servers_schemas_say_is_not_carried_out(tasks: Path, fault: str) -> None:
    env = MCP([*RAW, fault], tasks)
    env.reset(options={"task": "count"})
    assert env.step(say("look", at="it"))[0] == '<tool_response>"seen"</tool_response>'
    env.close()


@pytest.mark.parametrize(("fault", "why"), [("a long description", "characters"), ("no schema", "broke the protocol")])
def test_a_server_that_can_not_be_used_is_not_kept(tasks: Path, fault: str, why: str) -> None:
    before = children()
    env = MCP([*RAW, fault], tasks)
    with pytest.raises(EnvFailed, match=why):
        env.reset(options={"task": "count"})
    assert not children() - before
    with pytest.raises(EnvFailed, match="reset"):
        env.step(say("look"))


def test_a_server_is_given_no_secrets_and_ends_when_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "1234")
    before = children()
    with Server(NOTES) as server:
        mine = children() - before
        names = server.call("environment", {}).split()
        with pytest.raises(ToolError):
            server.call("no_such_tool", {})
    assert "SECRET_KEY" not in names
    assert "PATH" in names
    assert len(mine) == 1
    assert not mine & children()


def children() -> set[int]:
    """The processes that this one has started and that have not ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.mark.slow
def test_a_restored_snapshot_goes_on_as_the_first_time(env: MCP) -> None:
    env.reset(options={"task": "milk"})
    env.step(say("add_note", text="a"))
    saved = env.snapshot()
    first = env.step(say("add_note", text="milk"))[0]
    text, _ = env.restore(saved)
    assert text == '<tool_response>"2 notes"</tool_response>'
    assert env.step(say("add_note", text="milk"))[0] == first


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 1"),
        ('{"id": "a", "instruction": "b"}', "needs checks or an answer"),
        ('{"id": "a", "instruction": "b", "answer": "c", "command": "rm"}', "expected an object"),
        ('{"id": "a", "instruction": "b", "answer": "c", "split": "x"}', "split must be"),
        ('{"id": "a", "instruction": "", "answer": "c"}', "not empty"),
        ('{"id": "a", "instruction": "b", "setup": [{"tool": "t", "arguments": []}], "answer": "c"}', "an object"),
        ("", "no task"),
    ],
)
def test_a_file_that_holds_no_tasks_is_refused(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(line)
    with pytest.raises(InvalidData, match=why):
        read_tasks(path)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # hundreds of servers, a second of CPU each
def test_it_keeps_the_contract(tasks: Path) -> None:
    check_env(lambda: MCP(NOTES, tasks, hidden=("show_all", "clear", "hang", "die"), call_timeout_s=20))
