"""The system calls that a sandboxed process may not make, as a seccomp filter built here.

A filter is a program for the kernel's classic BPF machine, which sees the call's number, the architecture and the six
arguments. `Assembler` writes such programs with named jump targets; `sandbox_filter` is the one that sandboxes load.
Every denied call fails with EPERM, so that programs see an error and not a crash; calls of another architecture, whose
numbers mean other things, kill the process.

Source: the kernel's Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/{seccomp,filter}.h.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass, field

from sparring.envs.sandbox.protocol import SandboxRefused

KILL_PROCESS = 0x8000_0000
ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|…|K

# Offsets in struct seccomp_data.
NUMBER, ARCHITECTURE = 0, 4

X86_64, AARCH64 = 0xC000_003E, 0xC000_00B7
_X32_BIT = 0x4000_0000

# Numbers on x86-64 and on 64-bit ARM (None: that architecture has no such call).
DENIED: dict[str, tuple[int | None, int | None]] = {
    # looking into, stopping or changing other processes
    "ioprio_set": (251, 30),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # mounts, namespaces and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # kernel keys, which outlive processes
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large and often broken parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "vmsplice": (278, 75),
    # memory that no limit on files or processes sees, and messages that outlive processes
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    # the machine itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "nfsservctl": (180, 42),
}
# Calls that change a process of the same user, allowed where this argument says "the caller itself" by being 0.
ON_ITSELF: dict[str, tuple[tuple[int, int], int]] = {
    "prlimit64": ((302, 261), 0),
    "sched_setaffinity": ((203, 122), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setattr": ((314, 274), 0),
}
_SETPRIORITY = (141, 140)  # its first argument chooses between processes, groups and users, its second the one

_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (435, 435), (41, 198), (53, 199), (16, 29)

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET; clone() can't ask for a time namespace.
_NEW_NAMESPACES = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX push characters into a terminal's input

# Sockets of other families reach beyond the network namespace (vsock: the machine's host) or into rare kernel code.
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


@dataclass
class Assembler:
    """Builds a classic BPF program; jumps name labels, which may only lie ahead."""

    lines: list[tuple[int, int, str | int, str | int]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def load(self, offset: int) -> None:
        """Load the 32-bit word at `offset` of struct seccomp_data."""
        self.lines.append((_LOAD, offset, 0, 0))

    def jump(self, code: int, value: int, then: str | int = 0, otherwise: str | int = 0) -> None:
        """Compare the loaded word with `value`; 0 goes on with the next line."""
        self.lines.append((code, value, then, otherwise))

    def equal(self, value: int, then: str | int = 0, otherwise: str | int = 0) -> None:
        """Jump on equality."""
        self.jump(_JUMP_EQUAL, value, then, otherwise)

    def at_least(self, value: int, then: str | int = 0, otherwise: str | int = 0) -> None:
        """Jump where the loaded word is at least `value`, unsigned."""
        self.jump(_JUMP_AT_LEAST, value, then, otherwise)

    def any_bit(self, value: int, then: str | int = 0, otherwise: str | int = 0) -> None:
        """Jump where a bit of `value` is set."""
        self.jump(_JUMP_ANY_BIT, value, then, otherwise)

    def answer(self, verdict: int) -> None:
        """End with a verdict."""
        self.lines.append((_RETURN, verdict, 0, 0))

    def label(self, name: str) -> None:
        """Name the next line."""
        self.labels[name] = len(self.lines)

    def program(self) -> bytes:
        """The program as an array of struct sock_filter.

        Raises:
            ValueError: a jump goes backwards, or further than the machine's 255 lines.
        """
        out = bytearray()
        for at, (code, value, then, otherwise) in enumerate(self.lines):
            steps = [self._steps(at, target) for target in (then, otherwise)]
            out += struct.pack("=HBBI", code, *steps, value)
        return bytes(out)

    def _steps(self, at: int, target: str | int) -> int:
        if isinstance(target, int):
            return target
        steps = self.labels[target] - at - 1
        if not 0 <= steps <= 255:
            raise ValueError(f"a jump from line {at} to {target!r} would skip {steps} lines; 0 to 255 are possible")
        return steps


def argument(index: int) -> int:
    """Offset of the lower half of argument `index` on the little-endian machines that are supported."""
    return 16 + 8 * index


def refuse(number: int) -> int:
    """The verdict that makes a call fail with this errno."""
    return _ERRNO | number


def sandbox_filter(machine: str = "") -> bytes:
    """The filter that sandboxes load.

    Args:
        machine: as `platform.machine()` names it; this one by default.
    Raises:
        SandboxRefused: an architecture whose call numbers are not known here.
    """
    machine = machine or platform.machine()
    architectures = {"x86_64": (0, X86_64), "aarch64": (1, AARCH64)}
    if machine not in architectures:
        raise SandboxRefused(
            f"no seccomp filter is known for {machine} machines (known: {', '.join(architectures)}), "
            "so nothing runs sandboxed here"
        )
    column, architecture = architectures[machine]
    bpf = Assembler()
    bpf.load(ARCHITECTURE)
    bpf.equal(architecture, 1, 0)
    bpf.answer(KILL_PROCESS)
    bpf.load(NUMBER)
    if column == 0:
        bpf.at_least(_X32_BIT, 0, 1)
        bpf.answer(KILL_PROCESS)
    for numbers in DENIED.values():
        if numbers[column] is not None:
            bpf.equal(int(numbers[column] or 0), "denied")
    for name, (numbers_of, _) in ON_ITSELF.items():
        bpf.equal(numbers_of[column], name)
    bpf.equal(_SETPRIORITY[column], "setpriority")
    # The flags of clone3 lie in memory, where a filter can't look; where it is missing, libc takes clone.
    bpf.equal(_CLONE3[column], "missing")
    bpf.equal(_CLONE[column], "clone")
    bpf.equal(_SOCKET[column], "socket")
    bpf.equal(_SOCKETPAIR[column], "socket")
    bpf.equal(_IOCTL[column], "ioctl")
    bpf.answer(ALLOW)
    bpf.label("clone")
    bpf.load(argument(0))
    bpf.any_bit(_NEW_NAMESPACES, "denied")
    bpf.answer(ALLOW)
    bpf.label("socket")
    bpf.load(argument(0))
    for family in _FAMILIES:
        bpf.equal(int(family), "allowed")
    bpf.answer(refuse(errno.EAFNOSUPPORT))
    for name, (_, which) in ON_ITSELF.items():
        bpf.label(name)
        bpf.load(argument(which))
        bpf.equal(0, "allowed", "denied")
    bpf.label("setpriority")
    bpf.load(argument(0))
    bpf.equal(0, 0, "denied")
    bpf.load(argument(1))
    bpf.equal(0, "allowed", "denied")
    bpf.label("ioctl")
    bpf.load(argument(1))
    for request in _TERMINAL_INPUT:
        bpf.equal(request, "denied")
    bpf.label("allowed")
    bpf.answer(ALLOW)
    bpf.label("missing")
    bpf.answer(refuse(errno.ENOSYS))
    bpf.label("denied")
    bpf.answer(refuse(errno.EPERM))
    return bpf.program()
