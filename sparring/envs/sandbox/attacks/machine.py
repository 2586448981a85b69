"""Reaching the machine around the sandbox: its network, files, devices, kernel settings and processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from sparring.envs.sandbox.attacks.attack import attack, run_python
from sparring.envs.sandbox.protocol import Sandbox


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


@attack("network")
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
        found = run_python(sandbox, program)
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


_COMMON_VARIABLES = {"PATH", "HOME", "LANG", "LC_CTYPE", "TERM", "USER", "LOGNAME", "TMPDIR", "PWD"}


@attack("files of this machine")
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
        return run_python(sandbox, program)


@attack("writing outside")
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
    return run_python(sandbox, program)


@attack("devices")
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
    return run_python(sandbox, program)


@attack("proc and sys")
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
    return run_python(sandbox, program)


@attack("signals to the machine")
def _signals_outside(sandbox: Sandbox) -> str | None:
    """Kill a process of the machine by its number."""
    with subprocess.Popen(["sleep", "60"]) as victim:
        found = run_python(
            sandbox, f"attempt('a signal', os.kill, {victim.pid}, 9); attempt('a signal', os.kill, {os.getpid()}, 0)"
        )
        died = victim.poll() is not None
        victim.kill()
    return "a process of the machine was killed" if died else found
