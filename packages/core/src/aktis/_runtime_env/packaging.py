"""Directories, modules and archives as content-hashed packages in the session's storage.

A package is a directory ``<storage>/<hash>``, and ``pkg://<hash>`` is its URI. Guarantees:

- A directory that has its final name is whole: it is built under a temporary name and renamed.
- The name is the hash of what *was copied*, so a file that changes meanwhile cannot make name and content differ.
- Two processes may package the same directory at once; the slower one drops its copy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from aktis import _config
from aktis._runtime_env import ignore

SCHEME = "pkg://"
DEFAULT_EXCLUDES = (".git", ".venv", "venv", "__pycache__")
ARCHIVES = (".zip", ".whl", ".jar")

_CHUNK = 1 << 20
_LISTED_FILES = 8  # of the largest, in the message about a package that is too large


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree that is to be packaged."""

    name: str  # relative, with "/"
    path: str
    kind: str  # "file" | "directory" | "link"
    size: int = 0
    executable: bool = False


# what belongs to a tree -----------------------------------------------------------------------


def scan(root: Path, excludes: Iterable[str] = (), gitignore: bool | None = None) -> list[Entry]:
    """Everything below ``root`` that is shipped, sorted by name."""
    if gitignore is None:
        gitignore = not _config.read("RUNTIME_ENV_IGNORE_GITIGNORE")
    own = ignore.parse("\n".join([*DEFAULT_EXCLUDES, *excludes]))
    scanner = _Scanner(str(root), ignore.IgnoreRules([("", own)]), gitignore)
    entries = list(scanner.walk(str(root), "", ignore.IgnoreRules(), (os.path.realpath(root),)))
    entries.sort(key=lambda entry: entry.name)
    return entries


@dataclass(slots=True)
class _Scanner:
    root: str
    excluded: ignore.IgnoreRules
    gitignore: bool

    def walk(
        self, directory: str, prefix: str, rules: ignore.IgnoreRules, ancestors: tuple[str, ...]
    ) -> Iterator[Entry]:
        if self.gitignore:
            rules = rules.below(prefix, _read_gitignore(directory))
        with os.scandir(directory) as listing:
            items = sorted(listing, key=lambda item: item.name)
        for item in items:
            name = f"{prefix}/{item.name}" if prefix else item.name
            is_link = item.is_symlink()
            is_directory = item.is_dir()
            # git sees a link to a directory as a file
            if self.excluded.ignores(name, is_directory) or rules.ignores(name, is_directory and not is_link):
                continue
            if is_link and self._stays_inside(item.path):
                yield Entry(name, item.path, "link")
            elif is_directory:
                real = os.path.realpath(item.path)
                if real in ancestors:
                    continue  # a link to a directory around it
                yield Entry(name, item.path, "directory")
                yield from self.walk(item.path, name, rules, (*ancestors, real))
            elif item.is_file():
                status = item.stat()
                yield Entry(name, item.path, "file", status.st_size, bool(status.st_mode & stat.S_IXUSR))
            # sockets, pipes, devices and broken links are not shipped

    def _stays_inside(self, path: str) -> bool:
        """A relative link that means the same in the copy is copied as a link."""
        target = os.readlink(path)
        if os.path.isabs(target) or not os.path.exists(path):
            return False
        resolved = os.path.normpath(os.path.join(os.path.dirname(path), target))
        return resolved.startswith(self.root + os.sep)


def _read_gitignore(directory: str) -> list[ignore.Rule]:
    try:
        text = Path(directory, ".gitignore").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return ignore.parse(text)


def check_size(entries: Sequence[Entry], what: str) -> int:
    """The size in bytes. Raises RuntimeEnvSetupError above the limit, and names the largest files."""
    total = sum(entry.size for entry in entries)
    limit = int(_config.read("MAX_PACKAGE_BYTES"))
    if total > limit:
        from aktis.exceptions import RuntimeEnvSetupError

        largest = sorted(entries, key=lambda entry: -entry.size)[:_LISTED_FILES]
        listed = "\n".join(f"  {readable_size(entry.size):>10}  {entry.name}" for entry in largest if entry.size)
        raise RuntimeEnvSetupError(
            f"{what} holds {readable_size(total)}, more than the {readable_size(limit)} that is shipped to workers. "
            "Leave files out with runtime_env['excludes'] or a .gitignore file, or raise AKTIS_MAX_PACKAGE_BYTES. "
            f"Its largest files:\n{listed}"
        )
    return total


def readable_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


# hashing and copying --------------------------------------------------------------------------


def tree_hash(entries: Sequence[Entry], prefix: str = "", copy_to: Path | None = None) -> str:
    """Hash of names, contents and executable bits; with ``copy_to`` also copies, in the same pass."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"prefix {prefix}\0".encode())
    for entry in entries:
        digest.update(f"{entry.kind} {int(entry.executable)} {entry.name}\0".encode("utf-8", "surrogateescape"))
        target = copy_to / entry.name if copy_to is not None else None
        if entry.kind == "directory":
            if target is not None:
                target.mkdir(exist_ok=True)
        elif entry.kind == "link":
            text = os.readlink(entry.path)
            digest.update(os.fsencode(text) + b"\0")
            if target is not None:
                target.symlink_to(text)
        else:
            digest.update(_file_digest(entry, target))
    return digest.hexdigest()


def _file_digest(entry: Entry, target: Path | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open(entry.path, "rb") as source, open(target or os.devnull, "wb") as sink:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            if target is not None:
                sink.write(chunk)
    if target is not None and entry.executable:
        target.chmod(0o755)
    return digest.digest()


# storing --------------------------------------------------------------------------------------


def store_directory(source: Path, storage: Path, *, excludes: Iterable[str] = (), prefix: str = "") -> str:
    """Package a directory and return its URI. With ``prefix`` its content lies below that name in the package."""
    entries = scan(source, excludes)
    check_size(entries, f"the directory {str(source)!r}")
    name = tree_hash(entries, prefix)
    if (storage / name).is_dir():
        return SCHEME + name
    with _staging(storage) as staging:
        top = staging / prefix if prefix else staging
        top.mkdir(exist_ok=True)
        return _publish(staging, tree_hash(entries, prefix, top), storage)


def store_file(source: Path, storage: Path) -> str:
    """Package one file (a module), under its own name."""
    status = source.stat()
    entries = [Entry(source.name, str(source), "file", status.st_size, bool(status.st_mode & stat.S_IXUSR))]
    check_size(entries, f"the file {str(source)!r}")
    with _staging(storage) as staging:
        return _publish(staging, tree_hash(entries, "", staging), storage)


def store_archive(source: Path, storage: Path) -> str:
    """Package what a .zip or .whl archive holds."""
    with _staging(storage) as staging:
        try:
            with zipfile.ZipFile(source) as archive:
                infos = archive.infolist()
                check_size(
                    [Entry(info.filename, "", "file", info.file_size) for info in infos], f"the archive {str(source)!r}"
                )
                for info in infos:
                    _extract(archive, info, staging)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"runtime_env names {str(source)!r}, which is not a readable zip archive: {error}"
            ) from error
        if source.suffix == ".whl":
            _unfold_wheel(staging)
        return _publish(staging, tree_hash(scan(staging, gitignore=False)), storage)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    parts = PurePosixPath(info.filename).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError(f"the archive {archive.filename!r} holds the unsafe path {info.filename!r}")
    path = target.joinpath(*parts)
    if info.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, open(path, "wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)
    if (info.external_attr >> 16) & stat.S_IXUSR:
        path.chmod(0o755)


def _unfold_wheel(tree: Path) -> None:
    """Move what a wheel keeps for site-packages in ``*.data`` to where it is imported from."""
    for data in tree.glob("*.data"):
        for folder in ("purelib", "platlib"):
            if (data / folder).is_dir():
                shutil.copytree(data / folder, tree, dirs_exist_ok=True)
        shutil.rmtree(data)


def module_directory(module: ModuleType) -> Path:
    """Where an imported module's source lies: a package's directory, or the file of a single module."""
    if "." in module.__name__:
        top = module.__name__.partition(".")[0]
        raise ValueError(
            f"runtime_env['py_modules'] has the module {module.__name__!r}; give its top-level package {top!r}, "
            "because that is what workers import"
        )
    locations = list(getattr(module, "__path__", ()))
    if len(locations) > 1:
        raise ValueError(
            f"runtime_env['py_modules'] has the module {module.__name__!r}, which is spread over several directories "
            f"({', '.join(locations)}); give the paths themselves"
        )
    source = locations[0] if locations else getattr(module, "__file__", None)
    if source is None:
        raise ValueError(f"runtime_env['py_modules'] has the module {module.__name__!r}, which comes from no file")
    return Path(source)


def package_path(uri: str, storage: Path) -> Path:
    """The directory of a package. Raises RuntimeEnvSetupError when it is not there."""
    path = storage / uri[len(SCHEME) :]
    if not uri.startswith(SCHEME) or not path.is_dir():
        from aktis.exceptions import RuntimeEnvSetupError

        raise RuntimeEnvSetupError(f"the package {uri} is not in this session's storage {str(storage)!r}")
    return path


class _staging:
    """A temporary directory inside the storage; what was not published is removed."""

    __slots__ = ("_path", "_storage")

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def __enter__(self) -> Path:
        self._storage.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = Path(tempfile.mkdtemp(prefix=".building-", dir=self._storage))
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _publish(staging: Path, name: str, storage: Path) -> str:
    try:
        os.rename(staging, storage / name)
    except OSError:
        if not (storage / name).is_dir():
            raise
    return SCHEME + name
