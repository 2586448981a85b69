"""Taking more than the limits give."""

from __future__ import annotations

from sparring.envs.sandbox.attacks.attack import PRELUDE, attack, breach_in, run_python, still_works
from sparring.envs.sandbox.protocol import MIB, Sandbox


@attack("fork bomb")
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
    found = run_python(sandbox, program)
    bomb = sandbox.run(":(){ :|:& };:; sleep 5", 0.5)
    sandbox.kill()
    if not bomb.timed_out and bomb.status == 0:
        found = found or f"the bomb ended by itself: {bomb}"
    return found or still_works(sandbox)


@attack("memory of one process")
def _memory(sandbox: Sandbox) -> str | None:
    """Fill more memory than the limit in one process."""
    size = sandbox.limits.memory_bytes + 48 * MIB
    result = sandbox.run(["python3", "-I", "-c", f"x = b'x' * {size}; print('GOT', len(x))"], 20.0)
    if b"GOT" in result.stdout:
        return f"{size} bytes where {sandbox.limits.memory_bytes} are allowed"
    if not result.out_of_memory and b"MemoryError" not in result.stderr:
        return f"the result does not say that memory ran out: {result}"
    return still_works(sandbox)


@attack("memory of many processes")
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
    result = sandbox.run(["python3", "-I", "-c", PRELUDE + program + '\nprint("DONE")'], 20.0)
    if b"GOT" in result.stdout:
        return breach_in(result)
    return None if result.out_of_memory else f"the result does not say that memory ran out: {result}"


@attack("memory in files")
def _memory_in_files(sandbox: Sandbox) -> str | None:
    """Keep bytes where no limit on processes sees them: unlinked files, anonymous files, shared memory."""
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
    return run_python(sandbox, program)


@attack("filling the disk")
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
    return run_python(sandbox, program)


@attack("flood of output", quick=False)
def _flood(sandbox: Sandbox) -> str | None:
    """Write without end to standard output and error."""
    result = sandbox.run("yes & yes >&2", 20.0)
    most = sandbox.limits.output_bytes
    if len(result.stdout) > most or len(result.stderr) > most:
        return f"{len(result.stdout)} and {len(result.stderr)} bytes where {most} are kept"
    if not result.truncated:
        return "the result does not say that output was cut"
    return still_works(sandbox)


@attack("open files")
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
    return run_python(sandbox, program)
