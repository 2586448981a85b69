"""Living on: past the time limit, past an end of everything, past a restore."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path

from sparring.envs.sandbox.attacks.attack import PRELUDE, alone, attack, run_python, still_works
from sparring.envs.sandbox.protocol import FileTree, Sandbox


@attack("killing the parent", quick=False)
def _kill_parent(sandbox: Sandbox) -> str | None:
    """Kill or stop the sandbox's own process, everything that can be seen, and the process group."""
    program = """
for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD,
               signal.SIGSEGV, signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE):
    for target in (1, os.getppid()):
        try:
            os.kill(target, number)
        except OSError:
            pass
    if os.fork() == 0:
        os.setsid()
        try:
            os.kill(-1, number)
        except OSError:
            pass
        os._exit(0)
"""
    sandbox.run(["python3", "-I", "-c", PRELUDE + program], 1.0)
    sandbox.run("kill -9 0; kill -STOP 0; kill -9 -1", 1.0)
    return still_works(sandbox)


@attack("stopping the clock")
def _stop_watchdog(sandbox: Sandbox) -> str | None:
    """Run past the time limit, with every signal blocked or ignored and all others stopped."""
    program = """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print("partial", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            pass
try:
    os.kill(1, signal.SIGSTOP)
except OSError:
    pass
while True:
    pass
"""
    began = time.monotonic()
    result = sandbox.run(["python3", "-I", "-c", PRELUDE + program], 1.0)
    took = time.monotonic() - began
    if not result.timed_out or took > 8.0:
        return f"it ran for {took:.1f} s where 1 s is allowed: {result}"
    if result.stdout not in (b"partial\n", b""):
        return f"its output was changed: {result.stdout!r}"
    return alone(sandbox)


@attack("daemons")
def _daemons(sandbox: Sandbox) -> str | None:
    """Leave a process behind that has left its parent, its session and its group."""
    marker = f"sparring-daemon-{uuid.uuid4().hex}"
    program = f"""
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("python3", ["python3", "-c", "import time, signal; signal.signal(15, signal.SIG_IGN); "
                      "time.sleep(600)", {marker!r}])
        os._exit(0)
time.sleep(0.3)
"""
    found = run_python(sandbox, program)
    sandbox.kill()
    left = _host_processes(marker)
    return found or (f"{left} processes outlived kill()" if left else alone(sandbox))


def _host_processes(marker: str) -> int:
    """How many processes of the whole machine have `marker` in their command line."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += marker.encode() in path.read_bytes()
    return found


@attack("leftovers", quick=False)
def _leftovers(sandbox: Sandbox) -> str | None:
    """Leave something for whoever comes after a restore: files, processes, messages, keys."""
    marker = uuid.uuid4().hex
    plant = f"""
import fcntl, struct
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev"):
    try:
        with open(folder + "/{marker}", "w") as file:
            file.write("x")
        os.mkdir(folder + "/.{marker}")
    except OSError:
        continue
for folder in (os.getcwd(), "/tmp", "/dev/shm"):
    opened = os.open(folder, os.O_RDONLY)
    for flags in (0x10, 0x20, 0x40, 0x80, 0xC0):  # unchanging, append only, no dump, no access times, the last two
        try:
            fcntl.ioctl(opened, 0x40086602, struct.pack("q", flags))
        except OSError:
            continue
for path in ("/dev/pts", "/dev/pts/ptmx", "/dev/ptmx", "/dev/null", "/proc/sys", "/run", "/run/sandbox"):
    for call, value in ((os.chmod, 0), (os.utime, (5, 5))):
        try:
            call(path, value)
        except OSError:
            pass
if os.fork() == 0:
    os.setsid()
    one = socket.socket(socket.AF_UNIX)
    one.bind("\\0{marker}")
    one.listen()
    time.sleep(600)
"""
    sandbox.run(["python3", "-I", "-c", PRELUDE + plant], 5.0)
    sandbox.restore(FileTree())
    search = f"""
import fcntl, struct
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev"):
    if os.path.isdir(folder) and any("{marker}" in one for one in os.listdir(folder)):
        got("a file in " + folder)
for folder in (os.getcwd(), "/tmp", "/dev/shm"):
    try:
        flags = struct.unpack("q", fcntl.ioctl(os.open(folder, os.O_RDONLY), 0x80086601, bytes(8)))[0]
    except OSError:
        continue
    if flags & 0xF0:
        got(f"attributes {{flags:#x}} of {{folder}}")
for path in ("/dev/pts", "/dev/pts/ptmx", "/dev/null"):
    if not os.access(path, os.R_OK) or os.stat(path).st_mtime == 5:
        got("rights or times of " + path)
with socket.socket(socket.AF_UNIX) as one:
    attempt("a socket", one.connect, "\\0{marker}")
"""
    return run_python(sandbox, search) or alone(sandbox)
