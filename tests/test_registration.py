"""Ids, wrappers, and plug-ins: found by name, corrected when misspelt, reported by name when broken."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import pytest

import sparring
from sparring import registration
from sparring.envs.base import Info, TextWrapper
from sparring.errors import InvalidConfig, UnknownName
from sparring.registration import describe, env_ids, full_id, wrapper_names
from tests.worlds import Copy

ROOT = Path(__file__).parents[1]


class Add(TextWrapper):
    """Appends its mark to what is seen."""

    mark = ""

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        return text + self.mark, info


class AddA(Add):
    mark = "a"


class AddB(Add):
    mark = "b"


def test_a_registered_environment_is_made_by_gymnasium_too() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=7, words=4)
    assert "tests/Copy-v1" in env_ids()
    env = gymnasium.make("tests/Copy-v1")
    assert isinstance(env.unwrapped, Copy) and env.unwrapped.words == 4
    assert env.spec is not None and env.spec.max_episode_steps == 7
    found = describe("tests/Copy-v1")
    assert (found.id, found.cls, found.max_turns) == ("tests/Copy-v1", Copy, 7)


def test_options_and_the_limit_of_turns_may_be_overridden() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=7, words=4)
    env = sparring.make("tests/Copy-v1", words=9, max_turns=2)
    assert isinstance(env.unwrapped, Copy) and env.unwrapped.words == 9
    env.reset(seed=0)
    assert [env.step("red")[3] for _ in range(2)] == [False, True]
    with pytest.raises(InvalidConfig, match="max_turns must be at least 1, got 0"):
        sparring.make("tests/Copy-v1", max_turns=0)


def test_registering_again_replaces() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", words=4)
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", words=5)
    env = sparring.make("tests/Copy-v1")
    assert isinstance(env.unwrapped, Copy) and env.unwrapped.words == 5
    assert env_ids().count("tests/Copy-v1") == 1


def test_the_first_wrapper_is_innermost() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy")
    sparring.register_wrapper("a", "tests.test_registration:AddA")
    sparring.register_wrapper("b", "tests.test_registration:AddB")
    assert {"a", "b"} <= set(wrapper_names())
    assert sparring.make("tests/Copy-v1", wrappers=("a", "b")).reset(seed=0)[0].endswith("ab")
    assert sparring.make("tests/Copy-v1", wrappers=("b", "a")).reset(seed=0)[0].endswith("ba")


def test_a_short_id_stands_for_ours() -> None:
    assert full_id("WebShop-v1") == full_id("sparring/WebShop-v1") == "sparring/WebShop-v1"
    assert full_id("FrozenLake-v1") == "sparring/FrozenLake-v1"  # Gymnasium has one of that name, not in text


def test_misspelt_names_are_corrected() -> None:
    with pytest.raises(UnknownName, match=r'no environment "WebShpo-v1"\. Did you mean "sparring/WebShop-v1"'):
        sparring.make("WebShpo-v1")
    sparring.register("tests/Copy-v1", "tests.worlds:Copy")
    with pytest.raises(UnknownName, match=r'no wrapper "exprt"\. Did you mean "expert"'):
        sparring.make("tests/Copy-v1", wrappers=("exprt",))
    with pytest.raises(UnknownName, match=r'no option of tests/Copy-v1 "wrods"\. Did you mean "words"'):
        sparring.make("tests/Copy-v1", wrods=3)


@pytest.mark.parametrize("entry_point", ["tests.worlds", "tests:worlds:Copy", ""])
def test_an_entry_point_is_module_and_class(entry_point: str) -> None:
    with pytest.raises(InvalidConfig, match='entry_point must be "module:Class"'):
        sparring.register("tests/Copy-v1", entry_point)
    with pytest.raises(InvalidConfig, match='entry_point must be "module:Class"'):
        sparring.register_wrapper("copy", entry_point)


def test_everything_that_is_registered_names_a_class() -> None:
    for id in env_ids():
        assert issubclass(describe(id).cls, gymnasium.Env)
    for name in wrapper_names():
        assert issubclass(registration.load(registration._wrappers[name]), gymnasium.Wrapper)


def install(folder: Path, package: str, code: str, entry_point: str) -> None:
    """What pip leaves behind of a package with a plug-in."""
    (folder / f"{package}.py").write_text(code)
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[sparring.plugins]\n{entry_point}\n")


def test_plug_ins_are_there_when_installed_and_a_broken_one_is_reported_by_name(tmp_path: Path) -> None:
    good = "import sparring\n\ndef register():\n    sparring.register('good/Copy-v1', 'tests.worlds:Copy')\n"
    install(tmp_path, "good_plugin", good, "good = good_plugin:register")
    install(tmp_path, "bad_plugin", "raise OSError('no licence')\n", "bad = bad_plugin:register")
    install(tmp_path, "worse_plugin", "", "worse = worse_plugin:missing")
    program = """
import warnings
import sparring
from sparring.registration import load_plugins
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    env = sparring.make("good/Copy-v1")
    sparring.env_ids()
print(env.unwrapped)
for warning in caught:
    print(warning.category.__name__, warning.message)
print(load_plugins())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Copy" in done.stdout
    assert done.stdout.count("PluginWarning") == 2
    assert "PluginWarning the plug-in bad (bad_plugin:register) failed: OSError('no licence')" in done.stdout
    assert "'bad': 'OSError: no licence'" in done.stdout and "'worse': \"AttributeError" in done.stdout


def test_importing_sparring_is_quick_and_light() -> None:
    program = "import sys, sparring; print([m for m in ('torch', 'httpx', 'transformers') if m in sys.modules])"
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - begin < 30  # the figure itself is measured under benchmarks/
