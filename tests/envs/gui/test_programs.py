"""How programs are kept: where they can read and write, what ends with what, and what is read of what they left."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs.gui.geometry import Box
from sparring.envs.gui.programs import activity, landlock, tree
from sparring.envs.gui.programs.bus import Call
from sparring.envs.gui.programs.children import Children
from sparring.envs.gui.programs.home import LARGEST_FILE, Home
from sparring.errors import EnvFailed, InvalidConfig

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
READABLE = ("/usr", "/bin", "/lib", "/lib64")
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        made = Path(parent, "kept")
        made.mkdir()
        yield made


def children_of(folder: Path, readable: tuple[str, ...] | None) -> Children:
    spare = os.open("/dev/null", os.O_RDONLY)
    try:
        return Children(folder, readable, spare)
    finally:
        os.close(spare)


def finish(children: Children, name: str) -> int:
    deadline = time.monotonic() + 30
    while not children.has_ended(name) and time.monotonic() < deadline:
        children.listen(0.1)
    return children.ended[name]


@needs_landlock
def test_a_confined_program_writes_in_its_folder_alone_and_reads_nobodys_files(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_text("s")
    children = children_of(folder, READABLE)
    for name, script, status in (
        ("inside", "echo x > inside", 0),
        ("outside", f"echo x > {folder.parent}/outside", 2),
        ("secret", f"cat {secret}", 1),
        ("null", "echo x > /dev/null", 0),
        ("environment", f'test "$(env | grep -c HOME)" = 0 && test "$PATH" = {ENVIRONMENT["PATH"]}', 0),
    ):
        children.start(name, ("/bin/sh", "-c", script), ENVIRONMENT, folder)
        assert finish(children, name) == status, name
    assert (folder / "inside").read_text() == "x\n"
    assert not (folder.parent / "outside").exists()
    children.close()
    assert secret.exists() and not folder.exists()


def test_what_a_program_started_ends_with_it_but_not_what_is_to_last(folder: Path) -> None:
    children = children_of(folder, None)
    children.start("lasting", ("/bin/sleep", "60"), ENVIRONMENT, folder)
    # A grandchild in a session of its own, whose parent is gone.
    children.start("parent", ("/bin/sh", "-c", "setsid sleep 60 & echo $! > id; exit 3"), ENVIRONMENT, folder)
    assert finish(children, "parent") == 3
    grandchild = Path("/proc", (folder / "id").read_text().strip())
    children.end(but=("lasting",))
    assert not grandchild.exists() and set(children.ids) == {"lasting"} and not children.ended
    lasting = Path(f"/proc/{children.ids['lasting']}")
    assert lasting.exists()
    with pytest.raises(EnvFailed, match="can't be started"):
        children.start("none", ("/no/such/program",), ENVIRONMENT, folder)
    children.close()
    assert not lasting.exists()


def test_what_was_left_at_home_is_read_with_care(folder: Path) -> None:
    home = Home(folder, {})
    home.write({"notes/a.txt": "é"})
    for name in ("/a.txt", "../a.txt", "a/../../b", ""):
        with pytest.raises(InvalidConfig, match="home folder"):
            home.write({name: ""})
    outside = folder.parent / "secret"
    outside.write_text("s")
    (home.path / "link").symlink_to(outside)
    (home.path / "loop").symlink_to(home.path)
    os.mkfifo(home.path / "pipe")
    (home.path / "large").write_bytes(b"a" * (LARGEST_FILE + 1))
    (home.path / "binary").write_bytes(b"\xff")
    assert home.read() == {"binary": "\ufffd", "large": "a" * LARGEST_FILE, "notes/a.txt": "é"}
    (folder / "note").write_text("for the next episode")
    assert Home(folder, {}).read() == {} and not (folder / "note").exists()


def test_a_name_in_the_window_managers_settings_stays_a_name(folder: Path) -> None:
    home = Home(folder, {'"/><x a="': (1, 2, 3, 4)})
    assert "<x a=" not in home.manager_settings.read_text()


def test_a_process_at_work_is_told_from_one_that_waits(folder: Path) -> None:
    children = children_of(folder, None)
    children.start("works", ("/bin/sh", "-c", "while :; do :; done"), ENVIRONMENT, folder)
    children.start("waits", ("/bin/sleep", "60"), ENVIRONMENT, folder)
    for name, expected in (("works", float("inf")), ("waits", 0.5)):  # the second has set itself a time
        deadline = time.monotonic() + 10
        while activity.quiet_time([children.ids[name]]) != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        assert activity.quiet_time([children.ids[name]]) == expected
    children.close()
    assert activity.quiet_time([children.ids["works"]]) < 0.1


class Program:
    """A bus on which one program describes itself by a table of elements."""

    def __init__(self, elements: dict[str, tuple[str, str, int, tuple[int, int, int, int], list[str]]]) -> None:
        self.elements = elements

    def process_of(self, name: str) -> int:
        return 7

    def ask(self, calls: list[Call]) -> list[tuple | None]:  # type: ignore[type-arg]
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> tuple | None:  # type: ignore[type-arg]
        if call.to == tree.REGISTRY:
            return ([(":1", "root")],)
        role, name, states, extents, children = self.elements[call.path]
        return {
            "GetState": ([states, 0],),
            "GetRoleName": (role,),
            "Get": (("s", name),),
            "GetInterfaces": ([],),
            "GetExtents": (extents,),
            "GetChildren": ([(":1", child) for child in children] + [(":2", "another's")],),
        }.get(call.method)


SHOWING, ACTIVE = 1 << 25, 1 << 1


def read(elements: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    found = tree.read(Program(elements), (100, 100), {}, folder="/tmp/x")  # type: ignore[arg-type]
    return [(one.kind, one.name) for one in found.shown]


def test_what_is_hidden_covered_outside_or_nameless_is_not_listed() -> None:
    screen = {
        "root": ("application", "p", 0, (0, 0, 0, 0), ["behind", "front"]),
        "behind": ("frame", "Behind", SHOWING, (0, 0, 100, 100), ["under", "beside"]),
        "under": ("push button", "Under", SHOWING, (10, 10, 10, 10), []),
        "beside": ("push button", "Beside", SHOWING, (80, 80, 10, 10), []),
        "front": ("dialog", "Front /tmp/x/a", SHOWING | ACTIVE, (0, 0, 50, 50), ["ok", "hidden", "far", "panel"]),
        "ok": ("push button", "OK", SHOWING, (0, 0, 10, 10), []),
        "hidden": ("push button", "Hidden", 0, (0, 0, 10, 10), []),
        "far": ("push button", "Far", SHOWING, (200, 0, 10, 10), []),
        "panel": ("panel", "", SHOWING, (0, 0, 10, 10), ["label", "clock"]),
        "label": ("label", "", SHOWING, (0, 0, 10, 10), []),
        "clock": ("table cell", "21:\u200e05", SHOWING, (0, 0, 10, 10), []),
    }
    assert read(screen) == [("window", "Behind"), ("button", "Beside"), ("window", "Front ~/a"), ("button", "OK")]


def test_what_a_program_says_of_itself_is_bounded() -> None:
    endless = {
        "root": ("application", "p", 0, (0, 0, 0, 0), ["loop"]),
        "loop": ("frame", "x\u2028" + "x" * 10_000, SHOWING, (0, 0, 1 << 40, 10), ["loop", "loop"]),
    }
    found = tree.read(Program(endless), (100, 100), {}, folder="/tmp/x")  # type: ignore[arg-type]
    assert len(found.shown) == 1 and len(found.shown[0].name) == tree.LONGEST_NAME
    assert found.shown[0].name.startswith("x\ufffdx")
    assert found.shown[0].box == Box(0.0, 0.0, 1.0, 0.1)
