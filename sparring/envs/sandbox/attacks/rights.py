"""Gaining rights inside: over process 1, as root, in namespaces, by system calls."""

from __future__ import annotations

from sparring.envs.sandbox.attacks.attack import attack, run_python
from sparring.envs.sandbox.protocol import Sandbox


@attack("process 1")
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
    return run_python(sandbox, program)


@attack("more rights")
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
    return run_python(sandbox, program)


@attack("namespaces")
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
    return run_python(sandbox, program)


@attack("forbidden calls")
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
    return run_python(sandbox, program)
