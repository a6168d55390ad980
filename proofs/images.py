"""What a disk may hold after the power went at some point of a recording.

Certain is only what was synced before. Of what was written since, each sector of 512 bytes may be there, be missing,
or now and then be torn or garbage, whatever the order in which it was written. Of names that were made, given or taken
since their folder was synced, each may be there or not (``loose``, what POSIX allows), or all up to some instant, with
a sync of a file making those before it certain too (a journal, as ext4 keeps one).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proofs.recording import Made, Named, Operation, Removed, SyncBegun, Synced, Truncate, Write

SECTOR = 512
CHANCES = (0.0, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1.0)
IN_ORDER = 0.4
"""Of the images, how many hold of each file what was written up to some instant and nothing after."""
COPIES = "kept/"
"""Copies of configurations, which a start reads only when those are gone."""
TORN = 0.05
"""Of the images, how many have a sector that is neither old nor new."""


@dataclass(slots=True, eq=False)
class File:
    """``pending``: (offset, bytes of one sector) or (size, None) for a change of size, in order."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    size: int = 0
    syncs: int = 0


@dataclass(slots=True, eq=False)
class Folder:
    """``names`` is what the process sees, ``certain`` what a cut cannot take."""

    names: dict[str, "File | Folder"] = field(default_factory=dict)
    certain: dict[str, "File | Folder"] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Change:
    """A change of names in one folder: what lies under each name afterwards, None: nothing."""

    folder: Folder
    names: dict[str, "File | Folder | None"]
    journalled: bool = False


Image = dict[str, bytes | bytearray]
"""The files by their path under the root."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a cut leaves of one file: pieces of what was pending, on what is certain; and a sector that is torn."""

    file: File
    kept: tuple[tuple[int, bytes | None], ...]
    torn: tuple[int, bytes] | None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal keys, equal content."""
        return id(self.file), self.file.syncs, tuple(map(id, self.kept)), self.torn

    def content(self) -> bytes | bytearray:
        """The bytes."""
        if not self.kept and self.torn is None:
            return self.file.certain
        data = bytearray(self.file.certain)
        _apply(data, self.kept)
        if self.torn is not None:
            _apply(data, [self.torn])
        return data


class Disk:
    """Everything under a root, as a recording leaves it. ``honest`` False: syncs are ignored."""

    def __init__(self, files: Mapping[str, bytes] | None = None, honest: bool = True) -> None:
        self._root, self._honest = Folder(), honest
        self._changes: list[Change] = []
        self._syncs: dict[int, tuple[File | Folder | None, int, int]] = {}
        self._dirty: dict[int, File] = {}
        for path, data in (files or {}).items():
            folder, name = self._folder(path, make=True), path.rpartition("/")[2]
            folder.names[name] = folder.certain[name] = File(bytearray(data), [], len(data))

    @property
    def unsynced(self) -> int:
        """How many sectors and names a cut could take now."""
        return sum(len(file.pending) for file in self._dirty.values()) + len(self._changes)

    def do(self, operation: Operation) -> None:
        """Take in the next operation of the recording."""
        match operation:
            case Write(path, offset, data):
                self._write(path, offset, data)
            case Truncate(path, size):
                file = self._file(path)
                if file.size != size:
                    file.pending.append((size, None))
                    file.size = size
                    self._dirty[id(file)] = file
            case SyncBegun(number, path):
                node = self._node(path)
                pending = len(node.pending) if isinstance(node, File) else 0
                self._syncs[number] = node, pending, len(self._changes)
            case Synced(number):
                self._synced(*self._syncs.pop(number))
            case Made() | Named() | Removed():
                self._rename(operation)

    def whole(self) -> Image:
        """Everything, as the process sees it."""
        return {
            name: Left(file, tuple(file.pending), None).content() for name, file in _files(self._root, "", {}, True)
        }

    def cut(self, random: Random) -> dict[str, Left]:
        """What may be left, by path, if the power goes now."""
        keep, tear = _mood(random), random.random() < TORN
        names = self._names(random, keep)
        each = None if random.random() < IN_ORDER else keep
        return {name: _left(file, each, random, tear) for name, file in _files(self._root, "", names, False)}

    def _names(self, random: Random, keep: Callable[[], bool]) -> dict[int, dict[str, File | Folder]]:
        """What lies under which name in the folders where that is not certain."""
        if random.random() < 0.5:
            kept = [change for change in self._changes if keep()]
        else:
            journalled = sum(change.journalled for change in self._changes)
            kept = self._changes[: max(journalled, random.randint(0, len(self._changes)))]
        names: dict[int, dict[str, File | Folder]] = {}
        for change in kept:
            held = names.setdefault(id(change.folder), dict(change.folder.certain))
            for name, node in change.names.items():
                if node is None:
                    held.pop(name, None)
                else:
                    held[name] = node
        return names

    # ---- how

    def _write(self, path: str, offset: int | None, data: bytes) -> None:
        file = self._file(path)
        at = file.size if offset is None else offset
        place = 0
        while place < len(data):
            step = SECTOR - (at + place) % SECTOR
            file.pending.append((at + place, data[place : place + step]))
            place += step
        file.size = max(file.size, at + len(data))
        self._dirty[id(file)] = file

    def _synced(self, node: File | Folder | None, pending: int, changes: int) -> None:
        if not self._honest or node is None:
            return
        for change in self._changes[:changes]:
            change.journalled = True
        if isinstance(node, File):
            _apply(node.certain, node.pending[:pending])
            node.syncs += 1
            del node.pending[:pending]
            if not node.pending:
                self._dirty.pop(id(node), None)
            return
        begun, rest = self._changes[:changes], self._changes[changes:]
        for change in begun:
            if change.folder is node:
                _settle(change)
        self._changes = [change for change in begun if change.folder is not node] + rest

    def _rename(self, operation: Made | Named | Removed) -> None:
        path = operation.name if isinstance(operation, Named) else operation.path
        folder, name = self._folder(path), path.rpartition("/")[2]
        changes: list[tuple[Folder, str, File | Folder | None]] = []
        match operation:
            case Made(_, is_folder):
                if name in folder.names:
                    return
                changes.append((folder, name, Folder() if is_folder else File()))
            case Named(before, _, moved):
                node = self._node(before)
                assert node is not None, f"{before}: named again, and not there"
                changes.append((folder, name, node))
                if moved:
                    changes.append((self._folder(before), before.rpartition("/")[2], None))
            case Removed():
                changes.append((folder, name, None))
        for where, called, node in changes:
            if node is None:
                where.names.pop(called, None)
            else:
                where.names[called] = node
        if len({id(where) for where, _, _ in changes}) == 1:
            self._changes.append(Change(folder, {called: node for _, called, node in changes}))
        else:
            self._changes += [Change(where, {called: node}) for where, called, node in changes]

    def _file(self, path: str) -> File:
        node = self._node(path)
        assert isinstance(node, File), f"{path}: written to, and no file"
        return node

    def _node(self, path: str) -> File | Folder | None:
        node: File | Folder | None = self._root
        for part in path.split("/") if path else ():
            node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def _folder(self, path: str, make: bool = False) -> Folder:
        folder = self._root
        for part in path.split("/")[:-1]:
            if make and part not in folder.names:
                folder.names[part] = folder.certain[part] = Folder()
            node = folder.names[part]
            assert isinstance(node, Folder), f"{path}: {part} is no folder"
            folder = node
        return folder


def _settle(change: Change) -> None:
    for name, node in change.names.items():
        if node is None:
            change.folder.certain.pop(name, None)
        else:
            change.folder.certain[name] = node


def _mood(random: Random) -> Callable[[], bool]:
    """How likely it is in this image that something unsynced is there: from nothing to all of it."""
    chance = random.choice(CHANCES)
    draw = random.random
    return lambda: draw() < chance


def _files(
    folder: Folder, prefix: str, names: Mapping[int, Mapping[str, File | Folder]], now: bool
) -> Iterator[tuple[str, File]]:
    """The files under a folder by their paths: as it is ``now``, or as a cut leaves it."""
    held = folder.names if now else names.get(id(folder), folder.certain)
    for name, node in held.items():
        if isinstance(node, File):
            yield prefix + name, node
        else:
            yield from _files(node, f"{prefix}{name}/", names, now)


def _left(file: File, keep: Callable[[], bool] | None, random: Random, tear: bool) -> Left:
    """By chance for each sector, or without ``keep`` all that was written up to some instant."""
    if not file.pending:
        return Left(file, (), None)
    if keep is None:
        kept = tuple(file.pending[: random.randint(0, len(file.pending))])
    else:
        kept = tuple([piece for piece in file.pending if keep()])
    return Left(file, kept, _torn(file, random) if tear else None)


def _torn(file: File, random: Random) -> tuple[int, bytes] | None:
    """A pending sector of which only a part was written: behind it is what was there, or anything."""
    offset, piece = random.choice(file.pending)
    if piece is None:
        return None
    part = random.randint(0, len(piece))
    rest = random.randbytes(len(piece) - part) if random.random() < 0.5 else b""
    return offset, piece[:part] + rest


def _apply(data: bytearray, pieces: Iterable[tuple[int, bytes | None]]) -> None:
    for offset, piece in pieces:
        if piece is None:
            if offset < len(data):
                del data[offset:]
            else:
                data.extend(bytes(offset - len(data)))
            continue
        if offset > len(data):
            data.extend(bytes(offset - len(data)))
        data[offset : offset + len(piece)] = piece


class Shelf:
    """A folder, best in memory, into which one image after the other is put. ``working`` are the beginnings of names
    that whoever looks at an image writes to; all other files are left as they are when they have not changed.
    """

    def __init__(self, folder: Path, working: Sequence[str]) -> None:
        self.folder, self._working = folder, tuple(working)
        folder.mkdir(exist_ok=True)
        self._held: dict[str, bytes | bytearray] = {}
        self.version = 0
        """Another one whenever another file than a working one, or a copy, has changed."""

    def put(self, image: Image) -> None:
        """Make the folder hold this image and nothing else."""
        root = str(self.folder)
        for entry in os.scandir(root):
            if entry.name.startswith(self._working) and entry.name not in image and not entry.is_dir():
                Path(entry.path).unlink()
        for name in [name for name in self._held if name not in image]:
            (self.folder / name).unlink()
            del self._held[name]
            self.version += not name.startswith(COPIES)
        for name, data in image.items():
            if name.startswith(self._working):
                _write(f"{root}/{name}", data)
            elif self._held.get(name) != data:
                self._held[name] = bytes(data)
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                _write(f"{root}/{name}", data)
                self.version += not name.startswith(COPIES)


def _write(path: str, data: bytes | bytearray) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)
