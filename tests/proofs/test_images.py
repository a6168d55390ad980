"""What a cut may leave of a disk, and what it cannot take."""

from random import Random

import pytest

from proofs.images import Disk
from proofs.recording import Made, Named, Removed, SyncBegun, Synced, Truncate, Write

MANY = 300


def disk(*operations, honest=True):
    held = Disk(honest=honest)
    for operation in operations:
        held.do(operation)
    return held


def left(held, count=MANY):
    """Every disk that so many cuts leave, by the content of its files."""
    found = []
    for seed in range(count):
        found.append({name: bytes(each.content()) for name, each in held.cut(Random(seed)).items()})
    return found


def synced(path, number=1):
    return SyncBegun(number, path), Synced(number)


MADE = (Made("a"), Write("a", 0, b"old" * 171), *synced("a"), *synced("", 2))


def test_what_was_synced_is_there_whatever_is_cut():
    held = disk(*MADE)
    assert held.unsynced == 0
    assert all(image == {"a": b"old" * 171} for image in left(held))


def test_of_what_was_not_each_sector_is_there_or_not_and_now_and_then_torn():
    held = disk(*MADE, Write("a", 0, b"n" * 1024))
    assert held.unsynced == 2
    firsts = {image["a"][:512] for image in left(held)}
    assert {(b"old" * 171)[:512], b"n" * 512} <= firsts and len(firsts) > 2
    seconds = {image["a"][513:] for image in left(held)}
    assert {b"", b"n" * 511} <= seconds


def test_a_write_that_overlaps_a_sync_under_way_is_not_certain():
    held = disk(*MADE, SyncBegun(3, "a"), Write("a", 0, b"new"), Synced(3))
    assert {image["a"][:3] for image in left(held)} >= {b"old", b"new"}


def test_a_file_may_be_shorter_only_if_it_was_cut_off():
    held = disk(*MADE, Truncate("a", 3))
    assert {len(image["a"]) for image in left(held)} == {3, 513}


def test_a_name_is_certain_only_when_its_folder_was_synced():
    held = disk(*MADE, Made("b"), Write("b", 0, b"x"), *synced("b", 3))
    assert {"b" in image for image in left(held)} == {True, False}, "POSIX may forget it"
    held.do(SyncBegun(4, ""))
    held.do(Synced(4))
    assert all(image["b"] == b"x" for image in left(held))


@pytest.mark.parametrize("folder", ["", "sub/"])
def test_a_file_put_in_place_by_renaming_is_the_old_or_the_new_one(folder):
    begin = (Made("sub", folder=True), *synced("", 8)) if folder else ()
    first = (Made(f"{folder}a"), Write(f"{folder}a", 0, b"old"), *synced(f"{folder}a"), *synced(folder.rstrip("/"), 2))
    new = (Made(f"{folder}n"), Write(f"{folder}n", 0, b"new"), *synced(f"{folder}n", 3))
    held = disk(*begin, *first, *new, Named(f"{folder}n", f"{folder}a", moved=True))
    assert {image[f"{folder}a"] for image in left(held)} == {b"old", b"new"}


def test_one_that_was_not_synced_before_may_be_empty():
    held = disk(*MADE, Made("n"), Write("n", 0, b"new"), Named("n", "a", moved=True))
    assert b"" in {image["a"] for image in left(held)}


def test_a_removed_name_may_be_back():
    held = disk(*MADE, Removed("a"))
    assert {"a" in image for image in left(held)} == {True, False}


def test_a_disk_that_lies_is_certain_of_nothing():
    held = disk(*MADE, honest=False)
    assert {} in left(held) and held.unsynced > 0


def test_equal_keys_are_equal_disks():
    held = disk(*MADE, Write("a", 0, b"n" * 1024), Write("a", 512, b"m" * 512))
    seen = {}
    for seed in range(MANY):
        cut = held.cut(Random(seed))
        key = tuple((name, each.key) for name, each in cut.items())
        content = {name: bytes(each.content()) for name, each in cut.items()}
        assert seen.setdefault(key, content) == content
    assert len(seen) > 4
