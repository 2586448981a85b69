"""Tasks from files of one's own, and what is said of files that hold none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.code.jsonl import FileTasks
from sparring.envs.code.repair.jsonl import FileRepositories
from sparring.errors import InvalidData
from sparring.registration import make
from sparring.testing import check_env

FUNCTION: dict[str, Any] = {
    "id": "double",
    "prompt": "Write double(x).",
    "entry_point": "double",
    "tests": ["assert double(1) == 2"],
    "hidden_tests": ["assert double(2) == 4", "assert double('a') == 'aa'"],
    "solution": "def double(x):\n    return x + x\n",
    "split": "train",
}
STACK: dict[str, Any] = {
    "id": "stack",
    "prompt": "Write a class Stack with push and pop.",
    "entry_point": ["Stack"],
    "tests": ["s = Stack()\ns.push(1)\nassert s.pop() == 1"],
    "hidden_tests": ["s = Stack()\ns.push(1)\ns.push(2)\nassert (s.pop(), s.pop()) == (2, 1)", "Stack()"],
    "check": "script",
    "solution": "class Stack(list):\n    push = list.append\n",
}
REPOSITORY: dict[str, Any] = {
    "id": "acme/1",
    "prompt": "total() forgets the last price.",
    "files": {"shop/__init__.py": "", "shop/cart.py": "def total(prices):\n    return sum(prices[:-1])\n"},
    "test_files": {"hidden/test_cart.py": "from shop.cart import total\nassert total([1, 2]) == 3\n"},
    "commands": ["PYTHONPATH=. python3 hidden/test_cart.py", "test -f shop/__init__.py"],
    "patch": "sed -i 's/\\[:-1\\]//' shop/cart.py",
}
BY_VALUES: dict[str, Any] = {
    **{name: REPOSITORY[name] for name in ("prompt", "files", "patch")},
    "id": "acme/2",
    "functions": {"total": "shop.cart:total"},
    "required": ["assert total([1, 2]) == 3"],
    "kept": ["assert total([]) == 0"],
}


def write(folder: Path, *rows: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_a_file_of_functions(tmp_path: Path) -> None:
    tasks = FileTasks(write(tmp_path, FUNCTION, STACK))
    assert tasks.splits == ("train", "test")
    assert (tasks.task_ids("train"), tasks.task_ids("test")) == (["double"], ["stack"])
    assert tasks.task("stack").check == "script" and tasks.task("double").functions == ("double",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": 3}, '"id" must be a text'),
        ({"promt": "x"}, 'no field "promt"'),
        ({"entry_point": "a b"}, '"entry_point" must be the name'),
        ({"entry_point": []}, '"entry_point" must be the name'),
        ({"hidden_tests": []}, "at least one test"),
        ({"tests": "assert"}, '"tests" must be a list'),
        ({"tests": ["\ud800"]}, "surrogate"),
        ({"split": "validation"}, '"split" must be one of'),
        ({"check": "exec"}, '"check" must be one of'),
    ],
)
def test_a_wrong_function_is_refused_by_line_and_field(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidData, match=f"line 2.*{says}"):
        FileTasks(write(tmp_path, FUNCTION, {**FUNCTION, "id": "other", **change}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": {"../x": ""}}, "without `..`"),
        ({"files": {"/etc/passwd": ""}}, "without `..`"),
        ({"files": {"a\nb": ""}}, "without `..`"),
        ({"test_files": {"a/./b": ""}}, "without `..`"),
        ({"files": {"a": "", "a/b": ""}}, "both as a file"),
        ({"files": {"a": 3}}, "must hold a text"),
        ({"files": {}}, "at least one file"),
        ({"files": []}, "texts by path"),
        ({"commands": []}, "one of them"),
        ({"functions": {"f": "a:b"}}, "one of them"),
        ({"commands": [], "functions": {"f": "a:b"}}, '"required" must hold'),
        ({"commands": [], "functions": {"f": "a.b"}, "required": ["f()"]}, '"module:function"'),
        ({"commands": [], "functions": {"f; g": "a:b"}, "required": ["f()"]}, '"module:function"'),
        ({"folder": "/etc"}, 'no field "folder"'),
    ],
)
def test_a_wrong_repository_is_refused_by_line_and_field(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidData, match=f"line 1.*{says}"):
        FileRepositories(write(tmp_path, {**REPOSITORY, **change}))


def test_files_that_hold_no_tasks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    for content, says in (
        ("", "no task"),
        ("[1]", "JSON object"),
        ("{", "no JSON object"),
        ("\udcff", "can't be read"),
    ):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(InvalidData, match=says):
            FileTasks(path)
    with pytest.raises(InvalidData, match="can't be read"):
        FileTasks(tmp_path / "none.jsonl")
    with pytest.raises(InvalidData, match="there twice"):
        FileTasks(write(tmp_path, FUNCTION, FUNCTION))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_row_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, row: object) -> None:
    path = write(tmp_path_factory.mktemp("rows"), row)
    for read in (FileTasks, FileRepositories):
        with pytest.raises(InvalidData):
            read(path)


def test_a_folder_of_the_users_lies_under_every_repository(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / ".git").mkdir(parents=True)
    (base / ".git" / "config").write_text("x")
    (base / "a.txt").write_text("from the folder")
    (base / "b.txt").write_text("from the folder")
    (base / "image.png").write_bytes(b"\xff\xfe\xfd")
    (base / "passwd").symlink_to("/etc/passwd")
    path = write(tmp_path, {**REPOSITORY, "files": {"b.txt": "from the task"}})
    assert FileRepositories(path, base).task("acme/1").files == {"a.txt": "from the folder", "b.txt": "from the task"}
    with pytest.raises(InvalidData, match="no folder"):
        FileRepositories(path, tmp_path / "none")


@pytest.mark.sandbox
def test_functions_and_classes_of_a_file_are_played(tmp_path: Path) -> None:
    path = str(write(tmp_path, FUNCTION))
    check_env(lambda: make("CodeTasks-v1", path=path, turns=3))
    path = str(write(tmp_path, FUNCTION, STACK))
    env = make("CodeTasks-v1", path=path, timeout_s=2.0)  # three times spent on what never ends
    for id in ("double", "stack"):
        env.reset(options={"task": id})
        assert env.step(env.unwrapped.expert_action())[0] == "1 of 1 tests pass."  # type: ignore[attr-defined]
        assert env.step("submit")[1] == 1.0
    for program in ("import sys\nsys.exit(0)", "import os\nos._exit(0)", "class Stack: pass", "while True: pass"):
        env.reset(options={"task": "stack"})
        env.step(f"write {program}")
        assert env.step("submit")[1] < 1.0
    env.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("row", [REPOSITORY, BY_VALUES], ids=["by commands", "by values"])
def test_repositories_of_a_file_are_played(tmp_path: Path, row: dict[str, Any]) -> None:
    env = make("RepositoryTasks-v1", path=str(write(tmp_path, row)))
    env.reset(seed=0)
    assert env.step("submit")[1] < 1.0
    env.reset(seed=0)
    env.step("mkdir -p hidden/test_cart.py; echo 'print(1)' > hidden/x.py")  # in the way of a hidden test
    env.step(env.unwrapped.expert_action())  # type: ignore[attr-defined]
    _, reward, terminated, _, info = env.step("submit")
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    env.close()


@pytest.mark.sandbox
def test_nothing_that_an_agent_leaves_is_in_the_way_of_a_hidden_test(tmp_path: Path) -> None:
    files = {"old/kept.txt": "x", "cart.py": "x = 1\n"}
    row = {"id": "a", "prompt": "b", "files": files, "test_files": {"old/deep/test.py": "import os\n"}}
    tasks = write(tmp_path, {**row, "commands": ["python3 old/deep/test.py && grep 1 cart.py", "test -f old/kept.txt"]})
    env = make("RepositoryTasks-v1", path=str(tasks))
    for left, score in (
        ("true", 1.0),
        ("mkdir -p old/deep/test.py/x", 1.0),
        ("chmod 0 old", 1.0),
        ("mkdir old/deep; chmod 500 old/deep old", 1.0),
        ("rm -r old; ln -s /tmp old", 0.5),
        ("rm -r old; ln -s old old", 0.5),
        ("rm -r old; touch old", 0.5),
        ("cat /dev/zero > full", 0.0),
    ):
        env.reset(seed=0)
        env.step(left)
        assert env.step("submit")[1] == score, left
    env.close()
