"""The page docs/tools.md: its Python runs, its calls and commands are understood, and its tables say what there is."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tyro

from sparring.envs.tools.base import ToolEnv
from sparring.envs.tools.calls import Call, parse_calls
from sparring.envs.tools.mcp.env import MCP
from sparring.envs.tools.mcp.tasks import read_tasks
from sparring.envs.tools.toolworld.env import ToolWorld
from sparring.registration import env_ids, full_id
from sparring.trainers import itool

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_page_runs() -> None:
    pytest.importorskip("jsonschema")
    wallet, server, reward = blocks("python")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(wallet, "tools.md", "exec"), names)  # noqa: S102 - the page's own
    made: type[ToolEnv] = names["Wallet"]
    env = made(style="python")
    _, info = env.reset(options={"task": "train/3"})
    assert "Pay ann 3" in info["instruction"] and len(info["actions"].choices) == 7
    assert env.step("pay(to='ann', amount=3)")[0] == '{"left": 2}'
    assert "there is only 2" in env.step("pay(to='ann', amount=3)")[0]
    assert env.step("stop()")[1:3] == (1.0, True)
    exec(compile(reward, "tools.md", "exec"), {})  # noqa: S102
    options = re.findall(r"(\w+)=", server.partition("MCP-v1")[2])
    assert set(options) <= set(inspect.signature(MCP).parameters) and len(options) == 3


def test_the_calls_of_the_page_are_read() -> None:
    cells = dict(re.findall(r"^\| `(hermes|openai)` \| `(.*)` \|$", PAGE, re.MULTILINE))
    move = Call("move", {"file": "f4"})
    assert all(parse_calls(call, style).calls == (move,) for style, call in cells.items()) and len(cells) == 2
    action, given = re.search(r"a line `(Action: .*?)`, then a line `(.*?)`", PAGE).groups()  # type: ignore[union-attr]
    assert parse_calls(f"{action}\n{given}", "react").calls == (move,)
    one, several = re.search(r"`(move\(.*?\))`, or several in a list: `(.*?)`", PAGE).groups()  # type: ignore[union-attr]
    assert parse_calls(one, "python").calls == (move,)
    assert parse_calls(several, "python").calls == (move, Call("finish"))


def test_the_tasks_of_the_page_are_tasks(tmp_path: Path) -> None:
    (task,) = blocks("json")
    (tmp_path / "notes.jsonl").write_text(task)
    assert list(read_tasks(tmp_path / "notes.jsonl")) == [json.loads(task)["id"]]


def test_its_environments_options_and_commands_are_there() -> None:
    named = set(re.findall(r"`(\w+-v1)`", PAGE))
    assert named == {"ToolWorld-v1", "BFCL-v1", "MCP-v1"} and {f"sparring/{one}" for one in named} <= set(env_ids())
    table = PAGE.partition("| option | |")[2].partition("\n\n")[0]
    options = [one for cell in re.findall(r"^\| ([^|]+) \|", table, re.M) for one in re.findall(r"`(\w+)`", cell)]
    assert set(options) == set(inspect.signature(ToolWorld).parameters) - {"result_characters"}
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    (bench,) = (shlex.split(line) for line in lines if line.startswith("sparring bench"))
    assert full_id(bench[2])
    (train,) = (shlex.split(line) for line in lines if line.startswith("sparring train itool"))
    config = tyro.cli(itool.Config, args=train[3:])
    assert config.env.options == {"kind": "files", "docs": "none", "distractors": "0"} and config.env.max_turns == 10
    assert Path(__file__).parents[2].joinpath("examples", "tools.py").exists()
