"""An image for Docker from this machine's own files, for machines that reach no registry.

It holds bash, the usual small programs, git, and the Python that runs this with its standard library and pytest, and
nothing that somebody installed or wrote here. `sparring sandbox image` builds it; any other image with bash and
Python 3.11 serves as well (`open_sandbox(backend="docker", image="python:3.12-slim")`, pulled by hand beforehand).
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sparring.envs.sandbox.engine import IMAGE, connect
from sparring.envs.sandbox.protocol import SandboxFailed
from sparring.envs.sandbox.surroundings import FOLDERS
from sparring.errors import need

NEEDED = ("bash", "sh", "env")
PROGRAMS = """
[ arch awk base32 base64 basename bc bunzip2 bzip2 cat chgrp chmod chown cksum clear cmp col column comm cp
csplit cut date dd df diff diff3 dir dircolors dirname du echo egrep ed expand expr factor false fgrep file find
flock fmt fold free getopt git grep groups gunzip gzip head hexdump hostname iconv id install join kill less
link ln locale logname look ls make mawk md5sum mkdir mkfifo mknod mktemp more mv nice nl nohup nproc numfmt od
paste patch pathchk perl pgrep pinky pkill pr printenv printf prlimit ps ptx pwd readlink realpath renice reset
rev rm rmdir script sed seq setsid sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split
stat stdbuf strings stty sum sync tac tail tar taskset tee test time timeout touch tput tr tree true truncate
tsort tty uname unexpand uniq unlink unxz unzip uptime users vdir watch wc whereis which who whoami xargs xxd xz
yes zcat zip
"""
_SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_LEFT_OUT = {"test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages"}
_PACKAGES = ("pytest",)
# What compiled packages load beside the libraries of the programs, by the manylinux standard (PEP 600).
_LIBRARIES = (
    *("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1"),
    *("libresolv.so.2", "libz.so.1"),
)
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def build(name: str = IMAGE, say: Callable[[str], None] = lambda _: None) -> str:
    """Build the image and import it into the Docker engine; returns its id.

    Args:
        name: what to call it.
        say: told what is going on.
    Raises:
        MissingExtra, SandboxRefused: no Docker engine can be reached.
        SandboxFailed: this machine lacks a program that every sandbox needs, or the engine did not take it.
    """
    client = connect()
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            size = _fill(archive)
        file.flush()
        say(f"{size / 2**20:.0f} MiB of this machine's files are packed; the engine imports them.")
        path = "/usr/local/bin:" + _SYSTEM_PATH
        try:
            said = client.import_image_from_file(
                file.name, repository=name, tag="latest", changes=[f"ENV PATH={path}", 'CMD ["/bin/bash"]']
            )
        except need("docker", "docker").errors.APIError as error:
            raise SandboxFailed(f"the engine did not take the image: {error}") from error
    if "error" in said:
        raise SandboxFailed(f"the engine did not take the image: {said}")
    return str(client.inspect_image(name)["Id"])


def _fill(archive: tarfile.TarFile) -> int:
    """Put everything into the archive; how many bytes these are."""
    for folder in ("proc", "sys", "dev", "etc", "run", "var", *(name.lstrip("/") for name in FOLDERS)):
        _folder(archive, folder)
    for top in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/", top).is_symlink():
            _link(archive, top, str(Path("/", top).readlink()))
    files = {**_programs(), **_python()}
    files |= {name: Path(name).resolve() for name in _libraries(files.values())}
    for name, source in sorted(files.items()):
        member = archive.gettarinfo(source, name.lstrip("/"))
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mode &= 0o755
        if member.isreg():
            with source.open("rb") as content:
                archive.addfile(member, content)
        else:
            archive.addfile(member)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if Path(sys.base_prefix).resolve() != Path("/usr"):
        for name in ("python3", "python", version):
            _link(archive, f"usr/local/bin/{name}", f"{Path(sys.base_prefix).resolve()}/bin/{version}")
    _text(archive, "etc/passwd", "root:x:0:0::/:/bin/false\nagent:x:65534:65534::/work:/bin/bash\n")
    _text(archive, "etc/group", "root:x:0:\nagent:x:65534:\n")
    return archive.offset


def _folder(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(member)


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    archive.addfile(member)


def _text(archive: tarfile.TarFile, name: str, content: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content.encode()))


def _programs() -> dict[str, Path]:
    """Where each file goes, and where it is."""
    files: dict[str, Path] = {}
    for name in (*NEEDED, *PROGRAMS.split()):
        found = shutil.which(name, path=_SYSTEM_PATH)
        if found:
            files[f"{Path(found).parent.resolve()}/{name}"] = Path(found).resolve()
        elif name in NEEDED:
            raise SandboxFailed(f"every sandbox needs {name}, which is not in {_SYSTEM_PATH} of this machine")
    for folder in ("/usr/lib/git-core", "/usr/share/git-core", "/usr/lib/locale/C.utf8", "/usr/share/misc"):
        files |= _tree(Path(folder))
    return files


def _tree(top: Path, left_out: Iterable[str] = ()) -> dict[str, Path]:
    """Every file below a folder, links as links."""
    files: dict[str, Path] = {}
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith("config-")]
        files |= {f"{folder}/{name}": Path(folder, name) for name in names}
    return files


def _python() -> dict[str, Path]:
    """The interpreter, its standard library, and pytest where it is installed."""
    prefix = Path(sys.base_prefix).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = prefix / "bin" / version
    files = {str(interpreter): interpreter.resolve(), str(prefix / "bin" / "python3"): interpreter.resolve()}
    files |= _tree(prefix / "lib" / version, _LEFT_OUT)
    target = site.getsitepackages([str(prefix)])[0]
    for package in _with_requirements(_PACKAGES):
        for path in package.files or ():
            if ".." not in path.parts and not path.is_absolute():
                files[f"{target}/{path}"] = Path(str(package.locate_file(path)))
    return {name: path for name, path in files.items() if path.exists() or path.is_symlink()}


def _with_requirements(names: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """Those of the packages and what they require that are installed."""
    left, seen = list(names), set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # needed on other machines only
            continue
        yield found
        required = [one for one in found.requires or () if "extra ==" not in one]
        left += [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in required]


def _libraries(paths: Iterable[Path]) -> set[str]:
    """The shared libraries that programs among these files load, as their loader finds them."""
    programs = []
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    programs.append(str(path))
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for name in _LIBRARIES:
        programs += re.findall(rf"^\s*{re.escape(name)} .*=> (/\S+)$", known, re.MULTILINE)[:1]
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = {*_LIBRARY.findall(said), *(one for one in programs if Path(one).name in _LIBRARIES)}
    return {f"{Path(one).parent.resolve()}/{Path(one).name}" for one in found}
