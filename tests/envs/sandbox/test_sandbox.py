"""What a sandbox does for its owner, whatever contains it: commands, shells, files, limits, snapshots."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable

import pytest

from sparring.envs.sandbox.protocol import MIB, FileTree, Limits, Sandbox, SandboxFailed
from sparring.errors import InvalidConfig


def test_a_command_runs_and_tells(sandbox: Sandbox) -> None:
    result = sandbox.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.status) == (b"out\n", b"err\n", 3)
    assert not result.timed_out and not result.truncated and not result.out_of_memory and not result.ok
    assert isinstance(sandbox, Sandbox)


def test_streams_can_be_joined_in_order(sandbox: Sandbox) -> None:
    assert sandbox.run("echo 1; echo 2 >&2; echo 3", join=True).stdout == b"1\n2\n3\n"


def test_programs_take_arguments_input_and_variables(sandbox: Sandbox) -> None:
    code = "import os, sys; print(sys.argv[1], os.environ['HERE'], len(sys.stdin.read()))"
    result = sandbox.run(["python3", "-c", code, "a b; c"], stdin=b"x" * 500_000, env={"HERE": "yes"})
    assert result.stdout == b"a b; c yes 500000\n"


@pytest.mark.parametrize("rest", ["\n" * 131_000, "é" * 65_000, '"' * 131_000])
def test_a_command_as_long_as_the_kernel_takes_runs(sandbox: Sandbox, rest: str) -> None:
    sandbox.write("kept", b"")
    result = sandbox.run(["printf", "%s", rest], env={"LONG": "\1" * 131_000})
    assert result.stdout.decode() == rest and sandbox.list() == ["kept"]


def test_a_program_that_does_not_read_its_input_ends(sandbox: Sandbox) -> None:
    assert sandbox.run("exit 0", stdin=b"x" * 500_000).ok


def test_a_signal_is_told_as_a_negative_status(sandbox: Sandbox) -> None:
    assert sandbox.run(["/bin/bash", "-c", "kill -TERM $$"]).status == -15


def test_what_was_written_before_a_timeout_is_kept(sandbox: Sandbox) -> None:
    result = sandbox.run("echo partial; sleep 60", timeout=0.5)
    assert result.timed_out and result.stdout == b"partial\n" and result.status == -9
    assert sandbox.run("echo again").ok


def test_output_over_the_limit_is_cut_at_the_limit(backend: Callable[..., Sandbox]) -> None:
    with backend(Limits(output_bytes=1000)) as sandbox:
        result = sandbox.run("seq 1 5000; echo end >&2")
        assert result.truncated and len(result.stdout) == 1000 and result.stderr == b"end\n" and result.status == 0


def test_a_background_process_does_not_hold_a_command_up(sandbox: Sandbox) -> None:
    began = time.monotonic()
    assert sandbox.run("sleep 30 & echo started").stdout == b"started\n"
    assert time.monotonic() - began < 10


def test_running_out_of_memory_is_told(sandbox: Sandbox) -> None:
    result = sandbox.run(["python3", "-c", f"x = b'x' * {256 * MIB}"])
    assert not result.ok and (result.out_of_memory or b"MemoryError" in result.stderr)


def test_a_shell_keeps_folder_variables_and_functions(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    shell.run("mkdir -p deep && cd deep; export x=3; f() { echo f$x$1; }")
    assert shell.run("pwd; f 4; false").stdout == b"/work/deep\nf34\n"
    assert shell.run("false").status == 1
    assert shell.run("cat <<'E'\n'quoted' \"text\"\nE").stdout == b"'quoted' \"text\"\n"
    assert shell.run("cat").stdout == b""  # standard input is empty
    assert b"syntax error" in shell.run("if then").stderr
    assert shell.run("seq 1 300000 | tail -1").stdout == b"300000\n"


def test_a_shell_takes_commands_of_any_length(sandbox: Sandbox) -> None:
    assert sandbox.shell().run("x=" + "y" * 300_000 + "; echo ${#x}").stdout == b"300000\n"
    with pytest.raises(InvalidConfig, match="null"):
        sandbox.shell().run("a\0b")


def test_a_shell_that_ended_is_started_anew(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    shell.run("x=3")
    ended = shell.run("echo bye; exit 4")
    assert ended.stdout == b"bye\n" and ended.status == 4 and not ended.timed_out
    late = shell.run("echo part; sleep 60", timeout=0.5)
    assert late.timed_out and late.stdout == b"part\n"
    assert shell.run("echo $x.; pwd").stdout == b".\n/work\n"


def test_commands_can_not_reach_the_shells_own_pipes(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    result = shell.run("echo 77 >&63; echo 77 >&4; ls /proc/self/fd; false")
    assert result.status == 1 and b"63" not in result.stdout


@pytest.mark.parametrize(
    "lie",
    [
        "for one in 10 11 12; do echo nonsense >&$one; done",  # where bash keeps its own while a command runs
        "for one in 10 11 12; do builtin printf '0\\n7\\n' >&$one; done",
        "printf() { builtin printf %0999d 1 >&63; }",
        "printf() { exec 63>&-; }",
        "printf() { :; }",
    ],
)
def test_a_shell_that_lies_about_its_statuses_is_ended_in_time(sandbox: Sandbox, lie: str) -> None:
    shell = sandbox.shell()
    assert shell.run(lie, timeout=0.5).seconds < 5
    assert shell.run("echo fine").stdout == b"fine\n"


def test_statuses_written_ahead_are_not_taken_for_those_of_later_commands(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    shell.run(r"""for one in 10 11 12; do builtin printf "$__turn 0\n$__turn 0\n" >&$one; done""")
    assert shell.run("sleep 0.2; (exit 3)").status != 0  # its own, or that of a shell that was ended
    assert shell.run("echo fine").stdout == b"fine\n"


def test_a_shell_tells_that_memory_ran_out(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    result = shell.run("python3 -c 'x = bytearray(1 << 30); x[::4096] = bytes(len(x[::4096]))'; echo on")
    assert result.out_of_memory or b"MemoryError" in result.stderr
    assert not shell.run("true").out_of_memory


def test_a_command_that_is_killed_takes_shells_along_and_they_begin_anew(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    shell.run("x=5")
    assert sandbox.run("sleep 60", timeout=0.2).timed_out
    assert shell.run('echo "[$x]"').stdout == b"[]\n"
    shell.run("x=6")
    sandbox.kill()
    assert shell.run('echo "[$x]"').stdout == b"[]\n"


def test_ended_orphans_leave_room_for_others(backend: Callable[..., Sandbox]) -> None:
    with backend(Limits(processes=16)) as opened:
        shell = opened.shell()
        for _ in range(20):
            assert shell.run("(true & true & true &)").status == 0
            time.sleep(0.01)
        assert shell.run("(true); echo fine").stdout == b"fine\n"


def test_two_shells_live_side_by_side(sandbox: Sandbox) -> None:
    one, other = sandbox.shell(), sandbox.shell()
    one.run("x=1")
    other.run("x=2")
    assert one.run("echo $x").stdout + other.run("echo $x").stdout == b"1\n2\n"
    other.close()
    assert one.run("echo $x").stdout == b"1\n"


def test_files_go_in_and_out(sandbox: Sandbox) -> None:
    sandbox.write("a/b/c.sh", b"#!/bin/sh\necho ran\n", mode=0o755)
    assert sandbox.run("./a/b/c.sh; echo more > a/new").stdout == b"ran\n"
    assert sandbox.read("/work/a/new") == b"more\n" and sandbox.list("a") == ["b/", "new"]
    sandbox.write("a/new", b"")
    assert sandbox.read("a/new") == b""
    sandbox.run("ln -s b/c.sh a/link; ln -s new a/inside")
    assert sandbox.read("a/inside") == b""  # a link that stays inside is followed
    with pytest.raises(FileNotFoundError):
        sandbox.read("nothing")
    with pytest.raises(InvalidConfig, match="at most 3"):
        sandbox.read("a/b/c.sh", limit=3)
    with pytest.raises(SandboxFailed, match="disk is full"):
        sandbox.write("big", bytes(9 * MIB))


def test_a_snapshot_comes_back_exactly_and_elsewhere(sandbox: Sandbox, backend: Callable[..., Sandbox]) -> None:
    sandbox.run(
        "mkdir -p d/e empty; echo 1 > d/e/f; chmod 750 d/e/f; chmod 700 d; ln -s e/f d/l; touch -d 2001-01-01 d/e"
    )
    saved = pickle.loads(pickle.dumps(sandbox.snapshot()))  # noqa: S301 - our own
    look = "find . -printf '%p %y %m %l %Ty\\n' | sort; cat d/l"
    before = sandbox.run(look).stdout
    sandbox.run("rm -rf d; echo x > other; echo y > /tmp/left")
    sandbox.restore(saved)
    assert sandbox.run(look).stdout == before and sandbox.snapshot() == saved
    assert sandbox.run("ls /tmp").stdout == b""
    with backend() as fork:
        fork.restore(saved)
        assert fork.run(look).stdout == before
        fork.run("echo changed > d/e/f")
    assert sandbox.read("d/e/f") == b"1\n"
    assert saved.size_bytes == 2 + len("e/f")


def test_restore_ends_processes(sandbox: Sandbox) -> None:
    shell = sandbox.shell()
    shell.run("x=1; sleep 600 &")
    sandbox.restore(FileTree())
    assert shell.run("echo $x.; ls /proc | grep -c '^[0-9]'").stdout.startswith(b".\n")
    assert b"sleep" not in sandbox.run("cat /proc/[0-9]*/cmdline").stdout


def test_attributes_of_folders_do_not_survive_a_restore(sandbox: Sandbox) -> None:
    sandbox.run("chmod 700 /tmp; chmod 0 /work; touch -d 2001-01-01 /dev/shm")
    sandbox.run(["python3", "-c", "import os; os.setxattr('/tmp', 'user.note', b'x')"])
    sandbox.restore(FileTree())
    look = "import os; print([(oct(os.stat(f).st_mode), os.listxattr(f)) for f in ('/work', '/tmp', '/dev/shm')])"
    assert sandbox.run(["python3", "-c", look]).stdout == (b"[('0o40755', []), ('0o41777', []), ('0o41777', [])]\n")


def test_what_can_not_be_run_is_refused(sandbox: Sandbox) -> None:
    for command in ([], [""], ["a\0b"], "x" * 200_000):
        with pytest.raises(InvalidConfig):
            sandbox.run(command)
    with pytest.raises(InvalidConfig, match="timeout"):
        sandbox.run("true", timeout=0)
    assert sandbox.run(["no-such-program"]).status == 127
    assert sandbox.run(["/no/such/program"]).status == 127


def test_limits_are_checked() -> None:
    with pytest.raises(InvalidConfig, match="memory_bytes"):
        Limits(memory_bytes=1000)
    with pytest.raises(InvalidConfig, match="processes above 0"):
        Limits(processes=0)


def test_a_fork_of_the_owner_does_not_close_its_sandbox(sandbox: Sandbox) -> None:
    child = os.fork()
    if child == 0:
        sandbox.close()
        sandbox.__del__()
        os._exit(0)
    os.waitpid(child, 0)
    assert sandbox.run("echo alive").stdout == b"alive\n"
