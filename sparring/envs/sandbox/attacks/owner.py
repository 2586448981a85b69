"""Turning on the owner, who reads and writes files of the workspace."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from sparring.envs.sandbox.attacks.attack import attack, run_python
from sparring.envs.sandbox.protocol import File, FileTree, Sandbox, SandboxFailed
from sparring.errors import InvalidConfig


@attack("links out of the workspace", quick=False)
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


@attack("archives", quick=False)
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
        found = run_python(sandbox, program)
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


@attack("wild trees", quick=False)
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
    found = run_python(sandbox, program)
    began = time.monotonic()
    with contextlib.suppress(InvalidConfig, OSError):
        if len(sandbox.read("huge")) > sandbox.limits.disk_bytes:
            return "more was read than a disk holds"
    with contextlib.suppress(SandboxFailed):
        sandbox.snapshot()
    sandbox.run(["python3", "-c", "for one in range(21_000): open(str(one), 'w').close()"])
    with contextlib.suppress(InvalidConfig):
        return f"a folder of {len(sandbox.list())} files was listed"
    sandbox.restore(FileTree())
    left = sandbox.list()
    took = time.monotonic() - began
    return found or (f"{left} is left" if left else None) or (f"it took {took:.0f} s" if took > 20 else None)
