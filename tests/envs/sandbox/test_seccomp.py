"""The assembler and the filter, run by a small machine of our own."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from sparring.envs.sandbox.protocol import SandboxRefused
from sparring.envs.sandbox.seccomp import (
    AARCH64,
    ALLOW,
    DENIED,
    KILL_PROCESS,
    ON_ITSELF,
    X86_64,
    Assembler,
    refuse,
    sandbox_filter,
)


def verdict(program: bytes, number: int, architecture: int = X86_64, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel's machine would answer."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, word = 0, 0
    while True:
        code, then, otherwise, value = lines[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (word,) = struct.unpack_from("=I", data, value)
        else:
            holds = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code]
            at += then if holds else otherwise


def test_a_program_is_bytes_of_the_kernels_layout() -> None:
    bpf = Assembler()
    bpf.load(4)
    bpf.equal(7, "end", 0)
    bpf.answer(KILL_PROCESS)
    bpf.label("end")
    bpf.answer(ALLOW)
    assert bpf.program().hex() == "2000000004000000" + "1500010007000000" + "0600000000000080" + "060000000000ff7f"


def test_jumps_that_the_machine_can_not_make_are_refused() -> None:
    bpf = Assembler()
    bpf.label("back")
    bpf.equal(1, "back")
    with pytest.raises(ValueError, match="0 to 255"):
        bpf.program()


@pytest.mark.parametrize(("machine", "column", "architecture"), [("x86_64", 0, X86_64), ("aarch64", 1, AARCH64)])
def test_denied_calls_fail_and_others_pass(machine: str, column: int, architecture: int) -> None:
    program = sandbox_filter(machine)
    denied = {numbers[column]: name for name, numbers in DENIED.items() if numbers[column] is not None}
    for number in denied:
        assert verdict(program, int(number or 0), architecture) == refuse(errno.EPERM), denied[number]
    special = {(56, 220), (435, 435), (41, 198), (53, 199), (16, 29), (141, 140)} | {n for n, _ in ON_ITSELF.values()}
    judged = set(denied) | {pair[column] for pair in special}
    for number in range(500):
        if number not in judged:
            assert verdict(program, number, architecture) == ALLOW, number
    assert verdict(program, 0, architecture ^ 1) == KILL_PROCESS


def test_other_ways_into_the_kernel_are_closed() -> None:
    program = sandbox_filter("x86_64")
    assert verdict(program, 0x4000_0000 | 101) == KILL_PROCESS  # the x32 way
    assert verdict(program, 26, 0x4000_0003) == KILL_PROCESS  # the 32-bit way


def test_arguments_decide_where_a_call_is_allowed_in_part() -> None:
    program = sandbox_filter("x86_64")
    denied = refuse(errno.EPERM)
    assert verdict(program, 56, arguments=(0x11,)) == ALLOW  # fork
    assert verdict(program, 56, arguments=(0x10000011,)) == denied  # a user namespace
    assert verdict(program, 435) == refuse(errno.ENOSYS)
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        assert verdict(program, 41, arguments=(family,)) == ALLOW
    for family in (16, 17, 38, 40):  # netlink, packet, alg, vsock
        assert verdict(program, 41, arguments=(family,)) == refuse(errno.EAFNOSUPPORT)
    assert verdict(program, 16, arguments=(0, 0x5412)) == denied  # TIOCSTI
    assert verdict(program, 16, arguments=(0, 0x5401)) == ALLOW
    for (number, _), which in ON_ITSELF.values():
        assert verdict(program, number, arguments=(0,) * 6) == ALLOW
        assert verdict(program, number, arguments=tuple(int(at == which) for at in range(6))) == denied
    assert verdict(program, 141, arguments=(0, 0, 5)) == ALLOW
    assert verdict(program, 141, arguments=(0, 1, 5)) == verdict(program, 141, arguments=(2, 0, 5)) == denied


def test_unknown_machines_are_refused() -> None:
    with pytest.raises(SandboxRefused, match="riscv64"):
        sandbox_filter("riscv64")
