"""Grading: right programs pass, wrong ones fail, and no program reads the tests or writes its own verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sparring.envs.sandbox.forkserver import ForkServer, Grade
from sparring.envs.sandbox.protocol import MIB, Limits
from sparring.errors import InvalidConfig

# The right answers appear in the tests alone; a solution that passes has read them or has forged a verdict.
SECRET = "7316717653133062"
HIDDEN = [f"assert f(1) == '{SECRET}'", f"assert f(2) == '{SECRET}' * 2"]

pytestmark = pytest.mark.usefixtures("bubblewrap")


@pytest.fixture(scope="module")
def server(bubblewrap: None) -> Iterator[ForkServer]:
    with ForkServer(Limits(memory_bytes=128 * MIB, disk_bytes=4 * MIB, processes=16, wall_s=10)) as made:
        yield made


def works(server: ForkServer) -> bool:
    return server.grade("def f(x): return x + 1", ["assert f(1) == 2"], ["f"]).passed


def test_tests_are_judged_one_by_one(server: ForkServer) -> None:
    tests = ["assert f(1) == 2", "assert f(2) == 4, 'two and two'", "f('a')", "assert f(3) == 4"]
    grade = server.grade("def f(x):\n    print('got', x)\n    return x + 1\n", tests, ["f"])
    assert [outcome.passed for outcome in grade.outcomes] == [True, False, False, True]
    assert grade.fraction == 0.5 and not grade.passed
    assert grade.outcomes[1].message == "AssertionError: two and two"
    assert "solution.py" in grade.outcomes[2].message and "TypeError" in grade.outcomes[2].message
    assert grade.output == b"got 1\ngot 2\ngot a\ngot 3\n"


VALUES: list[object] = [None, True, 3, 10**40, 2.5, float("inf"), 1 + 2j, "ä\0\n\ud800", b"\xff\0", [1, [2]], (1,)]
VALUES += [{1: "a", (2, 3): None}, {1, 2}, frozenset({3}), [], {}, (), [(1, [2.0], {"a": {4}})]]


@pytest.mark.parametrize("value", VALUES)
def test_values_cross_unchanged(server: ForkServer, value: object) -> None:
    test = f"inf = float('inf')\nv = {value!r}\nassert f(v) == v and type(f(v)) is type(v)"
    grade = server.grade("def f(x): return x", [test], ["f"])
    assert grade.passed, grade


def test_changed_arguments_and_exceptions_cross(server: ForkServer) -> None:
    solution = "def f(x):\n    x.append(3)\ndef g():\n    raise KeyError('k')\nclass Own(ValueError): pass\n"
    solution += "def h():\n    raise Own('o')\ndef i(): return object()\n"
    keyword = "l = [1]\nf(x=l)\nassert l == [1, 3]"
    assert server.grade(solution, [keyword], ["f"]).passed
    tests = [
        "l = [1]\nf(l)\nassert l == [1, 3]",
        "try:\n    g()\nexcept KeyError:\n    pass",
        "try:\n    h()\nexcept ValueError as e:\n    assert str(e) == 'o'",
        "i()",
        "missing()",
    ]
    grade = server.grade(solution, tests, ["f", "g", "h", "i", "missing"])
    assert [outcome.passed for outcome in grade.outcomes] == [True, True, True, False, False]
    assert "plain Python values" in grade.outcomes[3].message and "no 'missing'" in grade.outcomes[4].message


def test_large_numbers_cross(server: ForkServer) -> None:
    tests = ["assert f(-(3 ** 20_000)) == 3 ** 20_000", "assert f([2 ** 64]) == [2 ** 64]"]
    assert server.grade("def f(x): return x if isinstance(x, list) else -x", tests, ["f"]).passed


def test_an_exception_does_not_end_a_loop_of_the_tests(server: ForkServer) -> None:
    loops = ["for got, want in zip(map(f, [1]), [2]): assert got == want", "assert all(x == 2 for x in map(f, [1]))"]
    for raised in ("StopIteration", "type('Own', (StopIteration,), {})"):
        grade = server.grade(f"def f(x): raise {raised}", [*loops, "assert list(iter(f, 2)) == [1]"], ["f"])
        assert not any(outcome.passed for outcome in grade.outcomes), grade


def test_long_messages_leave_room_for_later_verdicts(server: ForkServer) -> None:
    tests = [*(["f()"] * 12), "assert True"]
    grade = server.grade("def f(): raise ValueError('\U0001f600' * 3000)", tests, ["f"])
    assert grade.outcomes[-1].passed and not grade.outcomes[0].passed


@pytest.mark.parametrize(
    "solution", ["syntax error", "raise SystemExit(0)", "import os\nos._exit(0)", "def f(x): exit()"]
)
def test_programs_that_end_early_fail(server: ForkServer, solution: str) -> None:
    assert not any(outcome.passed for outcome in server.grade(solution, HIDDEN, ["f"]).outcomes)
    assert works(server)


def test_time_and_memory_are_limited(server: ForkServer) -> None:
    endless = server.grade(
        "def f(x):\n    while x == 2: pass\n    return x", ["f(1)", "f(2)", "f(3)"], ["f"], timeout=1
    )
    assert endless.timed_out and [outcome.passed for outcome in endless.outcomes] == [True, False, False]
    assert endless.outcomes[2].message == "time ran out"
    large = server.grade(f"x = b'x' * {512 * MIB}", ["f()"], ["f"])
    assert not large.passed and (large.out_of_memory or "MemoryError" in large.outcomes[0].message)
    flood = server.grade("while True: print('x' * 10000)", ["f()"], ["f"])
    assert not flood.passed and len(flood.output) == Limits().output_bytes
    assert works(server)


# Each looks for the tests or for a way to say "passed", and answers with what it has found.
CHEATS = {
    "reading all it can": """
import gc, glob, os, re, sys
found = []
def look(data):
    found.extend(re.findall(rb"f.1. == '([0-9]{16})'", data))
for name in os.listdir("/proc/self/fd") + [str(n) for n in range(200)]:
    try:
        look(os.pread(int(name), 1 << 20, 0))
    except OSError:
        pass
for process in [one for one in os.listdir("/proc") if one.isdigit()]:
    for name in ("environ", "cmdline", "stack", "syscall"):
        try:
            look(open(f"/proc/{process}/{name}", "rb").read())
        except OSError:
            pass
    for link in glob.glob(f"/proc/{process}/fd/*") + glob.glob(f"/proc/{process}/map_files/*"):
        if int(process) == os.getpid():
            continue
        try:
            look(os.read(os.open(link, os.O_RDONLY | os.O_NONBLOCK), 1 << 20))
        except OSError:
            pass
    try:
        spans = [line.split()[:2] for line in open(f"/proc/{process}/maps")]
        with open(f"/proc/{process}/mem", "rb") as memory:
            for span, rights in spans:
                low, high = (int(part, 16) for part in span.split("-"))
                if "r" in rights and high - low < 1 << 26:
                    try:
                        memory.seek(low)
                        look(memory.read(high - low))
                    except (OSError, ValueError, OverflowError):
                        pass
    except OSError:
        pass
for one in gc.get_objects():
    if isinstance(one, (str, bytes)):
        look(one.encode() if isinstance(one, str) else one)
for folder, _, files in os.walk("/work"):
    for name in files:
        look(open(os.path.join(folder, name), "rb").read())
def f(x):
    return (found or [b"nothing"])[0].decode() * x
""",
    "frames and caller": """
import sys
def f(x):
    frame = sys._getframe()
    text = []
    while frame:
        text.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    import re
    return (re.findall("[0-9]{16}", " ".join(text)) or ["nothing"])[0] * x
""",
    "an object that equals everything": """
class Yes(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
def f(x): return Yes("")
""",
    "patching the grader": """
import builtins, json, sys
judge = sys.modules["judge"]
judge.encode = lambda value: {"value": "x"}
judge.decode = lambda value: True
builtins.AssertionError = ZeroDivisionError
for module in list(sys.modules.values()):
    for name in ("judge", "_send", "loads"):
        if hasattr(module, name):
            setattr(module, name, lambda *_: [True, ""])
def f(x): return "x"
""",
    "writing a verdict to every descriptor": r"""
import os
def f(x):
    for one in list(range(3, 300)):
        try:
            os.write(one, b'[true, ""]\n' * 4)
        except OSError:
            pass
    for process in [one for one in os.listdir("/proc") if one.isdigit()]:
        for one in range(64):
            try:
                with open(f"/proc/{process}/fd/{one}", "wb", buffering=0) as file:
                    file.write(b'[true, ""]\n' * 4)
            except OSError:
                pass
    return "x"
""",
    "printing a verdict": "print('[true, \"\"]\\n' * 3, flush=True)\ndef f(x): return 'x'",
    "killing the judge": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)",
    "answering nonsense": r"""
import os, struct
def f(x):
    for text in (b'{"value": {"x": 1}, "arguments": {"t": []}}', b'[]', b'"raised"', b'{"raised": [1]}',
                 b'[' * 100000, b'{"value": ' + b'9' * 100000 + b'}'):
        os.write(5, struct.pack("=I", len(text)) + text)
    os.write(5, struct.pack("=I", 0xFFFFFFFF))
    os._exit(0)
""",
    "raising what ends a test quietly": "def f(x):\n    raise SystemExit(0)",
    "a process beside": """
import os
if os.fork() == 0:
    os.setsid()
    while True:
        for process in [one for one in os.listdir("/proc") if one.isdigit()]:
            for one in range(10):
                try:
                    os.write(os.open(f"/proc/{process}/fd/{one}", os.O_WRONLY), b'[true, ""]\\n')
                except OSError:
                    pass
def f(x): return "x"
""",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_program_passes_tests_that_it_can_not_know(server: ForkServer, cheat: str) -> None:
    grade = server.grade(CHEATS[cheat], HIDDEN, ["f"], timeout=8)
    assert not (grade.timed_out and "reading" in cheat), "it was stopped before it had looked everywhere"
    assert len(grade.outcomes) == 2 and not any(outcome.passed for outcome in grade.outcomes), grade
    assert works(server)


def test_the_cheats_would_find_the_tests_if_they_were_there(server: ForkServer) -> None:
    """The search above does find the secret where a test hands it over: its silence there means something."""
    solution = CHEATS["reading all it can"].replace("gc, glob", "json, gc, glob")
    own = solution.replace("found = []", f"found = []\nkept = json.loads({HIDDEN[0]!r}.join('\"\"'))", 1)
    grade = server.grade(own, HIDDEN, ["f"])
    assert grade.passed, grade


def test_nothing_passes_from_one_program_to_the_next(server: ForkServer) -> None:
    plant = """
import builtins, math, os, random, signal, socket, sys
for folder in ("/work", "/tmp", "/dev/shm"):
    try:
        open(folder + "/left", "w").write("x")
        os.makedirs(folder + "/deep/er")
        os.setxattr(folder, "user.left", b"x")
    except OSError:
        pass
    os.chmod(folder, 0o700)
os.chdir("/tmp/deep")
os.environ["LEFT"] = "x"
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
math.left = builtins.left = True
random.seed(99)
sys.path.append("/tmp")
sys.modules["left"] = math
if os.fork() == 0:
    os.setsid()
    one = socket.socket(socket.AF_UNIX)
    one.bind("\\0left")
    one.listen()
    signal.pause()
def f(): return True
"""
    look = """
import math, os, random, resource, signal, socket, sys
def f():
    found = []
    for folder in ("/work", "/tmp", "/dev/shm"):
        found.append((os.listdir(folder), oct(os.stat(folder).st_mode), os.listxattr(folder), os.stat(folder).st_mtime))
    others = [int(one) for one in os.listdir("/proc") if one.isdigit()]
    with socket.socket(socket.AF_UNIX) as one:
        found.append(one.connect_ex("\\0left"))
    found += [len(others), os.getcwd(), sorted(os.environ), str(signal.getsignal(signal.SIGUSR1))]
    found += [str(signal.getsignal(signal.SIGCHLD)), hasattr(math, "left"), "left" in sys.modules]
    found += ["left" in dir(__builtins__)]
    found += [sys.path, resource.getrlimit(resource.RLIMIT_NOFILE), random.random(), len(os.listdir("/proc/self/fd"))]
    found += [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)), list(map(str, {"a", "b", "c", "d"}))]
    return str(found)
"""
    grades: list[Grade] = []
    for _ in range(2):
        grades.append(server.grade(look, ["raise ValueError(f())"], ["f"]))
        assert server.grade(plant, ["assert f()"], ["f"]).passed
    assert grades[0].outcomes[0].message.startswith("ValueError: [([], ")
    assert grades[0].outcomes == grades[1].outcomes


def test_a_place_that_can_not_be_cleaned_is_replaced(server: ForkServer) -> None:
    before = server._sandbox.keeper
    deep = "import os\nfor _ in range(500):\n    os.mkdir('d')\n    os.chdir('d')\ndef f(): return 1"
    assert server.grade(deep, ["assert f() == 1"], ["f"]).passed
    assert server._sandbox.keeper is not before and works(server)


def test_modules_that_are_not_there_are_told() -> None:
    with pytest.raises(InvalidConfig, match="no_such_module"):
        ForkServer(imports=["no_such_module"])


def test_solutions_draw_the_same_numbers_under_the_same_seed(server: ForkServer) -> None:
    draw = "import random\ndef f(): return random.random()"
    same, other = (server.grade(draw, ["raise ValueError(f())"], ["f"], seed=seed).outcomes[0] for seed in (1, 2))
    assert server.grade(draw, ["raise ValueError(f())"], ["f"], seed=1).outcomes[0] == same != other
