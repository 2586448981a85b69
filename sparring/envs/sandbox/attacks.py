"""Attempts to get out of a sandbox, or to take more than its limits give.

Each attack runs inside any backend's sandbox and says what got through, or None where the sandbox held. The tests run
all of them; `probe.verify` runs the `quick` ones before a process opens its first sandbox; `sparring sandbox check`
runs all on one's own machine.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sparring.envs.sandbox.protocol import MIB, File, FileTree, Limits, Result, Sandbox, SandboxFailed
from sparring.errors import InvalidConfig

# Small, so that running into them costs little.
LIMITS = Limits(
    wall_s=30.0, memory_bytes=96 * MIB, disk_bytes=4 * MIB, processes=24, output_bytes=64 * 1024, open_files=128
)


_COMMON_VARIABLES = {"PATH", "HOME", "LANG", "LC_CTYPE", "TERM", "USER", "LOGNAME", "TMPDIR", "PWD"}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: short, for tables and tests. what: what it attempts.
        attempt: runs it; returns what got through, or None.
        quick: whether it is part of the check at start-up, because its outcome depends on the machine.
    """

    name: str
    what: str
    attempt: Callable[[Sandbox], str | None]
    quick: bool


ATTACKS: dict[str, Attack] = {}


def _attack(name: str, *, quick: bool = True) -> Callable[[Callable[[Sandbox], str | None]], None]:
    def register(attempt: Callable[[Sandbox], str | None]) -> None:
        ATTACKS[name] = Attack(name, (attempt.__doc__ or "").strip().rstrip("."), attempt, quick)

    return register


# What attacking programs start with. They print a line `GOT …` for whatever works, and `DONE` at their end, without
# which an attack counts as not made.
_PRELUDE = """
import ctypes, errno, os, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def got(what): print("GOT", what, flush=True)
def attempt(what, call, *arguments):
    try:
        outcome = call(*arguments)
    except (OSError, ValueError, AttributeError, MemoryError):
        return
    got(f"{what}: {str(outcome)[:80]!r}")
def content(path):
    with open(path, "rb") as file:
        return file.read(64)
def change(path, data):
    with open(path, "r+b", buffering=0) as file:
        return file.write(data)
"""


def _python(sandbox: Sandbox, program: str, timeout: float = 20.0) -> str | None:
    """Run an attacking program, and say what it got."""
    result = sandbox.run(["python3", "-I", "-c", _PRELUDE + program + '\nprint("DONE")'], timeout)
    return _got(result)


def _got(result: Result) -> str | None:
    lines = result.text.splitlines()
    found = [line[4:] for line in lines if line.startswith("GOT ")]
    if found:
        return "; ".join(found[:5])
    return None if "DONE" in lines else f"the attack could not be made (status {result.status}): {result.text[-300:]}"


def _still_works(sandbox: Sandbox) -> str | None:
    """Whether the sandbox still does what it is told."""
    try:
        result = sandbox.run("echo fine", 10.0)
    except SandboxFailed as error:
        return f"the sandbox broke: {error}"
    return None if result.stdout == b"fine\n" else f"the sandbox no longer works: {result}"


def _host_processes(marker: str) -> int:
    """How many processes of the whole machine have `marker` in their command line."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += marker.encode() in path.read_bytes()
    return found


@contextlib.contextmanager
def _listener(family: int, address: tuple[str, int] | str) -> Iterator[tuple[socket.socket, list[object]]]:
    """A socket of this process that listens, and what connects to it."""
    callers: list[object] = []
    with socket.socket(family) as listening:
        listening.bind(address)
        listening.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    callers.append(listening.accept())

        threading.Thread(target=accept, daemon=True).start()
        yield listening, callers
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


@_attack("network")
def _network(sandbox: Sandbox) -> str | None:
    """Reach this machine, its network, the machine's own host, or an abstract socket."""
    name = f"\0sparring-{uuid.uuid4().hex}"
    with (
        _listener(socket.AF_INET, ("0.0.0.0", 0)) as (listening, callers),
        _listener(socket.AF_UNIX, name) as (_, more),
    ):
        program = f"""
port, name = {listening.getsockname()[1]}, {name!r}
def reach(family, kind, address):
    with socket.socket(family, kind) as one:
        one.settimeout(1)
        one.connect(address)
        one.send(b"x")
        return address
for host in {_addresses()!r} + ["1.1.1.1"]:
    for target in (port, 53, 80):
        attempt(f"TCP to {{host}}", reach, socket.AF_INET, socket.SOCK_STREAM, (host, target))
attempt("UDP", reach, socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 53))
attempt("abstract socket", reach, socket.AF_UNIX, socket.SOCK_STREAM, name)
for family in (40, 16, 17, 38, 31, 43, 44):  # vsock, netlink, packet, alg, bluetooth, smc, xdp
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        attempt(f"a socket of family {{family}}", socket.socket, family, kind)
attempt("a name", socket.gethostbyname, "pypi.org")
"""
        found = _python(sandbox, program)
        if callers or more:
            return f"a connection from the sandbox arrived; {found}"
        return found


def _addresses() -> list[str]:
    """Addresses under which this machine may be reached."""
    found = {"127.0.0.1", "169.254.169.254"}
    with contextlib.suppress(OSError):
        found |= {str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 9))  # sends nothing; it only picks the address of the way out
        found.add(one.getsockname()[0])
    return sorted(found)


@_attack("fork bomb")
def _fork_bomb(sandbox: Sandbox) -> str | None:
    """Start processes that start processes, without end."""
    most = sandbox.limits.processes
    program = f"""
alive = 0
for _ in range({most} * 4):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        alive += 1
    except OSError:
        break
if alive > {most}:
    got(f"{{alive}} processes where {most} are allowed")
"""
    found = _python(sandbox, program)
    bomb = sandbox.run(":(){ :|:& };:; sleep 5", 0.5)
    sandbox.kill()
    if not bomb.timed_out and bomb.status == 0:
        found = found or f"the bomb ended by itself: {bomb}"
    return found or _still_works(sandbox)


@_attack("memory of one process")
def _memory(sandbox: Sandbox) -> str | None:
    """Fill more memory than the limit in one process."""
    size = sandbox.limits.memory_bytes + 48 * MIB
    result = sandbox.run(["python3", "-I", "-c", f"x = b'x' * {size}; print('GOT', len(x))"], 20.0)
    if b"GOT" in result.stdout:
        return f"{size} bytes where {sandbox.limits.memory_bytes} are allowed"
    if not result.out_of_memory and b"MemoryError" not in result.stderr:
        return f"the result does not say that memory ran out: {result}"
    return _still_works(sandbox)


@_attack("memory of many processes")
def _memory_of_many(sandbox: Sandbox) -> str | None:
    """Fill more memory than the limit in processes that each stay below it."""
    each = sandbox.limits.memory_bytes // 4
    program = f"""
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        x = b"x" * {each}
        time.sleep(3)
        os._exit(0)
    children.append(child)
if all(os.waitpid(child, 0)[1] == 0 for child in children):
    got("8 times {each} bytes where {sandbox.limits.memory_bytes} are allowed in all")
"""
    result = sandbox.run(["python3", "-I", "-c", _PRELUDE + program + '\nprint("DONE")'], 20.0)
    if b"GOT" in result.stdout:
        return _got(result)
    return None if result.out_of_memory else f"the result does not say that memory ran out: {result}"


@_attack("memory in files")
def _memory_in_files(sandbox: Sandbox) -> str | None:
    """Keep bytes where no limit on processes sees them: unlinked files, pipes, sockets, anonymous files."""
    program = f"""
kept = [os.open(".", os.O_TMPFILE | os.O_RDWR) for _ in range(4)]
size = 0
for one in kept:
    try:
        while True:
            size += os.write(one, b"x" * 65536)
    except OSError:
        pass
if size > {sandbox.limits.disk_bytes}:
    got(f"{{size}} bytes in unlinked files where {sandbox.limits.disk_bytes} are allowed")
attempt("memfd_create", os.memfd_create, "x")
for name, number in (("shmget", {{"x86_64": 29, "aarch64": 194}}[os.uname().machine]),):
    if libc.syscall(number, 0, 1 << 20, 0o1600) >= 0:
        got(name)
"""
    return _python(sandbox, program)


@_attack("filling the disk")
def _disk(sandbox: Sandbox) -> str | None:
    """Write more than the limit into any folder that takes files, and find one without a limit."""
    program = f"""
size = {sandbox.limits.disk_bytes}
places = []
for folder, folders, _ in os.walk("/"):
    if folder == "/":
        folders[:] = [one for one in folders if one not in ("proc", "usr", "sys")]
    if folder == sys.prefix:
        folders.clear()
    path = os.path.join(folder, "sparring-attack")
    try:
        with open(path, "wb"):
            places.append(path)
    except OSError:
        continue
for path in places:
    if not path.startswith(({sandbox.workspace!r} + "/", "/tmp/", "/dev/shm/")):
        got("a file " + path)
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written <= size + (1 << 20):
                written += file.write(b"x" * (1 << 16))
    except OSError:
        pass
    os.unlink(path)
    if written > size:
        got(f"{{written}} bytes in {{path}} where {{size}} are allowed")
for number in range(8):
    try:
        with open(f"part{{number}}", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * (1 << 16))
    except OSError:
        pass
kept = sum(os.stat(one).st_size for one in os.listdir("."))
if kept > size:
    got(f"{{kept}} bytes in several files where {{size}} are allowed")
for one in os.listdir("."):
    os.unlink(one)
"""
    return _python(sandbox, program)


@_attack("flood of output", quick=False)
def _flood(sandbox: Sandbox) -> str | None:
    """Write without end to standard output and error."""
    result = sandbox.run("yes & yes >&2", 20.0)
    most = sandbox.limits.output_bytes
    if len(result.stdout) > most or len(result.stderr) > most:
        return f"{len(result.stdout)} and {len(result.stderr)} bytes where {most} are kept"
    if not result.truncated:
        return "the result does not say that output was cut"
    return _still_works(sandbox)


@_attack("files of this machine")
def _host_files(sandbox: Sandbox) -> str | None:
    """Read what belongs to the machine: passwords, homes, this very package, and a secret, by every way round."""
    secret = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=Path.home()) as home:
        paths = [Path(folder, "secret"), Path(home, "secret")]
        for path in paths:
            path.write_text(secret)
        forbidden = [*map(str, paths), str(Path(__file__).resolve()), "/etc/shadow", "/etc/machine-id", "/root/.bashrc"]
        program = f"""
roots = ["", "/..", "/proc/1/root", "/proc/self/root", "/proc/1/cwd/..", "/oldroot", "/newroot"]
roots += [f"/proc/self/fd/{{one}}" for one in range(64)] + [f"/proc/1/fd/{{one}}" for one in range(64)]
for path in {forbidden!r}:
    for root in roots:
        attempt(root + path, content, root + path)
for name in ("/etc", "/home", "/root", "/var", "/sys", "/mnt", "/srv", "/opt", "/run"):
    for folder, folders, files in os.walk(name):
        for one in files:
            try:
                if {secret!r}.encode() in content(os.path.join(folder, one)):
                    got(os.path.join(folder, one))
            except OSError:
                continue
        if folder.count("/") > 3:
            folders.clear()
for name in {sorted(set(os.environ) - _COMMON_VARIABLES)!r}:
    if name in os.environ:
        got("the variable " + name)
"""
        return _python(sandbox, program)


@_attack("writing outside")
def _write_outside(sandbox: Sandbox) -> str | None:
    """Change what the sandbox shows of the machine."""
    program = """
def append(path):
    with open(path, "ab") as file:
        file.write(b"x")
for path in ("/usr/x", "/usr/bin/env", "/bin/bash", "/etc/passwd", "/etc/ld.so.cache", "/etc/x", "/x", "/dev/x",
             "/lib/x", sys.executable, os.__file__, os.path.join(sys.prefix, "x"), "/run/x", "/var/x",
             "/run/sandbox/keeper.py"):
    attempt("writing " + path, append, path)
    attempt("removing " + path, os.unlink, path)
    attempt("renaming " + path, os.rename, path, path + "2")
    attempt("changing rights of " + path, os.chmod, path, 0o777)
attempt("a hard link", os.link, "/usr/bin/env", "hard")
for path in ("/", "/usr", "/dev", "/proc"):
    if libc.mount(b"none", path.encode(), None, 0x20, None) == 0:  # MS_REMOUNT
        got("a remount of " + path)
"""
    return _python(sandbox, program)


@_attack("process 1")
def _process_1(sandbox: Sandbox) -> str | None:
    """Look into the sandbox's own process, change it, or take its descriptors."""
    program = """
number = {"x86_64": (101, 310, 438, 434), "aarch64": (117, 270, 438, 434)}[os.uname().machine]
if libc.syscall(number[0], 16, 1, 0, 0) == 0 or libc.syscall(number[0], 0x4206, 1, 0, 0) == 0:
    got("ptrace")
word = ctypes.create_string_buffer(64)
class Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
ours, theirs = Span(ctypes.addressof(word), 64), Span(0x400000, 64)
for end in (ours, theirs):
    if libc.syscall(number[1], 1, ctypes.byref(ours), 1, ctypes.byref(end), 1, 0) > 0:
        got("process_vm_readv")
descriptor = libc.syscall(number[3], 1, 0)
if descriptor >= 0:
    for one in range(32):
        if libc.syscall(number[2], descriptor, one, 0) >= 0:
            got(f"descriptor {one} by pidfd_getfd")
for name in ("mem", "environ", "maps", "fd", "cwd", "root", "exe", "task/1/mem", "syscall", "stack", "io", "map_files"):
    path = "/proc/1/" + name
    attempt(path, os.listdir if name in ("fd", "cwd", "root", "map_files") else content, path)
    attempt("a link to " + path, os.readlink, path)
for name in ("mem", "oom_score_adj", "comm", "clear_refs", "uid_map", "setgroups", "timerslack_ns", "coredump_filter"):
    attempt("writing /proc/1/" + name, change, "/proc/1/" + name, b"1")
attempt("its limits", __import__("resource").prlimit, 1, 7, (8, 8))
attempt("its processors", os.sched_setaffinity, 1, {0})
attempt("its scheduling", os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
attempt("its priority", os.setpriority, os.PRIO_PROCESS, 1, 19)
attempt("its user's priority", os.setpriority, os.PRIO_USER, 0, 19)
attempt("its group's priority", os.setpriority, os.PRIO_PGRP, 1, 19)
"""
    return _python(sandbox, program)


@_attack("killing the parent", quick=False)
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
    sandbox.run(["python3", "-I", "-c", _PRELUDE + program], 1.0)
    sandbox.run("kill -9 0; kill -STOP 0; kill -9 -1", 1.0)
    return _still_works(sandbox)


@_attack("stopping the clock")
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
    result = sandbox.run(["python3", "-I", "-c", _PRELUDE + program], 1.0)
    took = time.monotonic() - began
    if not result.timed_out or took > 8.0:
        return f"it ran for {took:.1f} s where 1 s is allowed: {result}"
    if result.stdout not in (b"partial\n", b""):
        return f"its output was changed: {result.stdout!r}"
    return _alone(sandbox)


def _alone(sandbox: Sandbox) -> str | None:
    """Whether no process is left in the sandbox."""
    program = """
others = [int(one) for one in os.listdir("/proc") if one.isdigit() and int(one) not in (1, os.getpid())]
for one in others:
    try:
        name = content(f"/proc/{one}/cmdline")
    except OSError:
        continue
    if name:  # empty: already ended
        got(f"process {one} is still there: {name}")
"""
    return _python(sandbox, program)


@_attack("daemons")
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
    found = _python(sandbox, program)
    sandbox.kill()
    left = _host_processes(marker)
    return found or (f"{left} processes outlived kill()" if left else _alone(sandbox))


@_attack("signals to the machine")
def _signals_outside(sandbox: Sandbox) -> str | None:
    """Kill a process of the machine by its number."""
    with subprocess.Popen(["sleep", "60"]) as victim:
        found = _python(
            sandbox, f"attempt('a signal', os.kill, {victim.pid}, 9); attempt('a signal', os.kill, {os.getpid()}, 0)"
        )
        died = victim.poll() is not None
        victim.kill()
    return "a process of the machine was killed" if died else found


@_attack("more rights")
def _more_rights(sandbox: Sandbox) -> str | None:
    """Become root by setuid programs, by a setuid file of one's own, or with capabilities left over."""
    program = """
for line in content_lines("/proc/self/status"):
    name, _, value = line.partition(":")
    if name in ("CapPrm", "CapEff", "CapAmb", "CapBnd") and int(value, 16):
        got(line)
    if name == "NoNewPrivs" and value.strip() != "1":
        got("no_new_privs is not set")
    if name == "Seccomp" and value.strip() != "2":
        got("no seccomp filter is set")
if os.getuid() == 0:
    got("user 0")
for call in (os.setuid, os.setgid, os.seteuid):
    attempt(call.__name__, call, 0)
attempt("setgroups", os.setgroups, [0])
subprocess.run(["cp", "/usr/bin/id", "own"], check=True)
os.chmod("own", 0o6755)
for command in (["./own"], ["su", "-c", "id"], ["sudo", "-n", "id"], ["newuidmap", str(os.getpid()), "0", "0", "1"]):
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        continue
    if "uid=0" in said:
        got(" ".join(command))
os.unlink("own")
""".replace("content_lines(", "open(")
    return _python(sandbox, program)


@_attack("devices")
def _devices(sandbox: Sandbox) -> str | None:
    """Make device nodes, or open the machine's."""
    program = """
import stat
block, character = stat.S_IFBLK, stat.S_IFCHR
for kind, device in ((block, (8, 0)), (block, (254, 0)), (character, (1, 1)), (character, (10, 229))):
    attempt("mknod", os.mknod, f"node{device}", kind | 0o666, os.makedev(*device))
for name in ("vda", "sda", "nvme0n1", "mem", "kmem", "port", "kmsg", "fuse", "kvm", "loop-control", "loop0", "vsock",
             "net/tun", "mapper/control", "vhost-vsock", "vhost-net", "uinput", "console", "hwrng", "btrfs-control",
             "nvidia0",             "nvidiactl", "dri/card0"):
    attempt("/dev/" + name, os.open, "/dev/" + name, os.O_RDONLY)
"""
    return _python(sandbox, program)


@_attack("namespaces")
def _namespaces(sandbox: Sandbox) -> str | None:
    """Make namespaces of one's own, in which one would be root."""
    program = """
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.unshare(flag) == 0 else 1)
    if os.waitpid(child, 0)[1] == 0:
        got(f"unshare({flag:#x})")
clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
for flag in (0x10000000, 0x50000000):
    child = libc.syscall(clone, flag | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child > 0:
        got(f"clone({flag:#x})")
class Arguments(ctypes.Structure):
    names = ("flags", "pidfd", "child", "parent", "signal", "stack", "size", "tls")
    _fields_ = [(name, ctypes.c_uint64) for name in names]
child = libc.syscall(435, ctypes.byref(Arguments(flags=0x10000000, signal=17)), ctypes.sizeof(Arguments))
if child == 0:
    os._exit(0)
if child > 0:
    got("clone3")
for name in ("user", "mnt", "pid", "net"):
    try:
        handle = os.open(f"/proc/1/ns/{name}", os.O_RDONLY)
    except OSError:
        continue
    if libc.setns(handle, 0) == 0:
        got("setns to " + name)
"""
    return _python(sandbox, program)


@_attack("forbidden calls")
def _forbidden_calls(sandbox: Sandbox) -> str | None:
    """Make each system call that the filter denies."""
    from sparring.envs.sandbox.seccomp import DENIED

    program = f"""
column = {{"x86_64": 0, "aarch64": 1}}[os.uname().machine]
for name, numbers in {DENIED!r}.items():
    if numbers[column] is not None:
        ctypes.set_errno(0)
        outcome = libc.syscall(numbers[column], -1, 0, 0, 0, 0, 0)
        if outcome >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            got(f"{{name}} answered {{outcome}}, errno {{ctypes.get_errno()}}")
import fcntl
attempt("TIOCSTI", fcntl.ioctl, 0, 0x5412, b"x")
attempt("a controlling terminal", os.open, "/dev/tty", os.O_RDWR)
"""
    return _python(sandbox, program)


@_attack("proc and sys")
def _proc(sandbox: Sandbox) -> str | None:
    """Change the kernel's settings, or read its memory, through /proc and /sys."""
    program = """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
             "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces",
             "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/self/uid_map", "/proc/self/attr/exec",
             "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs", "/proc/1/uid_map"):
    attempt("writing " + path, change, path, b"0 0 1")
for path in ("/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/sys/kernel/security", "/proc/1/environ"):
    attempt("reading " + path, content, path)
seen = [int(one) for one in os.listdir("/proc") if one.isdigit()]
if len(seen) > 40:
    got(f"{len(seen)} processes can be seen")
"""
    return _python(sandbox, program)


@_attack("open files")
def _open_files(sandbox: Sandbox) -> str | None:
    """Open more files than the limit."""
    most = sandbox.limits.open_files
    program = f"""
kept = []
try:
    while len(kept) <= {most}:
        kept.append(os.open("/dev/null", os.O_RDONLY))
    got(f"{{len(kept)}} open files where {most} are allowed")
except OSError:
    for one in kept:
        os.close(one)
"""
    return _python(sandbox, program)


@_attack("links out of the workspace", quick=False)
def _links(sandbox: Sandbox) -> str | None:
    """Lead its owner out of the workspace: by links, by `..`, by what a path turns into while it is opened."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_text("secret")
        sandbox.run(
            f"ln -s {secret} file; ln -s {folder} folder; ln -s ../../../../../..{folder} up; ln -s / root; "
            "ln -s /proc/self/root magic; mkdir sub; ln -s ../.. sub/dots; ln -s loop loop; mkfifo pipe; "
            "truncate -s 3M holes"
        )
        wild = ["file", "folder/secret", "up/secret", "root/etc/passwd", "magic/etc/passwd", f"..{secret}", str(secret)]
        wild += ["sub/dots/etc/passwd", "loop", "../etc/passwd", "/etc/passwd", "a\0b", "", "pipe", f"root{secret}"]
        for path in wild:
            with contextlib.suppress(InvalidConfig, OSError):
                return f"read({path!r}) gave {sandbox.read(path)[:80]!r}"
            if path != "pipe":
                with contextlib.suppress(InvalidConfig, OSError):
                    sandbox.write(path, b"changed")
                    return f"write({path!r}) worked"
        for path in ("folder", "root", "up", "..", "/", "sub/dots"):
            with contextlib.suppress(InvalidConfig, OSError):
                return f"list({path!r}) gave {sandbox.list(path)[:3]}"
        if secret.read_text() != "secret" or len(list(Path(folder).iterdir())) != 1:
            return "a file outside was changed"
        saved = {file.path: file for file in sandbox.snapshot().files}
        if any(file.data == b"secret" for file in saved.values()) or saved["file"].kind != "link":
            return "a snapshot followed a link"
        sandbox.restore(FileTree(tuple(saved.values())))
        return (
            None
            if sandbox.list() == sorted(["file", "folder", "holes", "loop", "magic", "root", "sub/", "up"])
            else (f"a restored workspace holds {sandbox.list()}")
        )


@_attack("archives", quick=False)
def _archives(sandbox: Sandbox) -> str | None:
    """Unpack an archive, or restore a saved workspace, whose names lead elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "planted")
        program = f"""
import io, tarfile
with tarfile.open("evil.tar", "w") as archive:
    for name in ("../../../../../../..{target}", "{target}"):
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    link = tarfile.TarInfo("way")
    link.type, link.linkname = tarfile.SYMTYPE, "{folder}"
    archive.addfile(link)
    member = tarfile.TarInfo("way/planted")
    member.size = 1
    archive.addfile(member, io.BytesIO(b"x"))
subprocess.run(["tar", "-xPf", "evil.tar"], stderr=subprocess.DEVNULL)
"""
        found = _python(sandbox, program)
        evil = [
            (File("..", "folder"),),
            (File("../planted", "file", data=b"x"),),
            (File(str(target), "file", data=b"x"),),
            (File("way", "link", data=folder.encode()), File("way/planted", "file", data=b"x")),
            (File("a/b", "file", data=b"x"),),
        ]
        for files in evil:
            with contextlib.suppress(InvalidConfig, OSError):
                sandbox.restore(FileTree(files))
                return f"{[file.path for file in files]} could be restored"
        return f"{target} was planted" if list(Path(folder).iterdir()) else found


@_attack("wild trees", quick=False)
def _wild_trees(sandbox: Sandbox) -> str | None:
    """Leave files that are hard to read, to save or to remove: huge holes, deep folders, names that are no text."""
    program = """
with open("huge", "wb") as file:
    try:
        os.truncate("huge", 1 << 40)
    except OSError:
        pass
os.mkfifo("pipe")
open(b"\\xff\\n\\x01", "wb").close()
os.mkdir("closed", 0)
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
"""
    found = _python(sandbox, program)
    began = time.monotonic()
    with contextlib.suppress(InvalidConfig, OSError):
        if len(sandbox.read("huge")) > sandbox.limits.disk_bytes:
            return "more was read than a disk holds"
    with contextlib.suppress(SandboxFailed):
        sandbox.snapshot()
    sandbox.restore(FileTree())
    left = sandbox.list()
    took = time.monotonic() - began
    return found or (f"{left} is left" if left else None) or (f"it took {took:.0f} s" if took > 20 else None)


@_attack("leftovers", quick=False)
def _leftovers(sandbox: Sandbox) -> str | None:
    """Leave something for whoever comes after a restore: files, processes, messages, keys."""
    marker = uuid.uuid4().hex
    plant = f"""
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev"):
    try:
        with open(folder + "/{marker}", "w") as file:
            file.write("x")
        os.mkdir(folder + "/.{marker}")
    except OSError:
        continue
if os.fork() == 0:
    os.setsid()
    one = socket.socket(socket.AF_UNIX)
    one.bind("\\0{marker}")
    one.listen()
    time.sleep(600)
"""
    sandbox.run(["python3", "-I", "-c", _PRELUDE + plant], 5.0)
    sandbox.restore(FileTree())
    search = f"""
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev"):
    if os.path.isdir(folder) and any("{marker}" in one for one in os.listdir(folder)):
        got("a file in " + folder)
with socket.socket(socket.AF_UNIX) as one:
    attempt("a socket", one.connect, "\\0{marker}")
"""
    return _python(sandbox, search) or _alone(sandbox)
