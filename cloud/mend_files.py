"""Puts back configurations and profiles that rotted in the store, from a second copy: each proven by its SHA-256."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloud import segments
from cloud.copied import Kind
from cloud.store import Store

QUERIES = {
    Kind.CONFIGURATION: "SELECT envelope, digest, gateway, number FROM configs ORDER BY gateway, number",
    Kind.PROFILE: "SELECT source, digest FROM profiles ORDER BY digest",
}
UPDATES = {
    Kind.CONFIGURATION: "UPDATE configs SET envelope = ?, digest = ? WHERE gateway = ? AND number = ?",
    Kind.PROFILE: "UPDATE profiles SET source = ? WHERE digest = ?",
}
File = tuple[Kind, tuple[Any, ...]]
"""What it is, and its key: gateway and number of a configuration, digest of a profile."""


def rotten(store: Store) -> list[File]:
    """The configurations and profiles whose bytes are not those of their digest."""
    with store.reading() as db:
        return [
            (kind, tuple(key) or (digest,))
            for kind, query in QUERIES.items()
            for content, digest, *key in db.execute(query)
            if hashlib.sha256(content).digest() != digest
        ]


def name(file: File) -> str:
    """What it is called where somebody is told of it."""
    kind, key = file
    if kind == Kind.PROFILE:
        return f"profile {key[0].hex()}"
    return f"configuration {key[1]} of gateway {key[0].hex()}"


def mend(store: Store, copy: Path) -> list[File]:
    """Put back what a copy holds of what is rotten; what it put back."""
    wanted, done = set(rotten(store)), list[File]()
    for file, content, digest in _held(copy) if wanted else ():
        if file in wanted and hashlib.sha256(content).digest() == digest:
            kind, key = file
            with store.writing() as db:
                db.execute(UPDATES[kind], (content, *((digest,) if kind == Kind.CONFIGURATION else ()), *key))
            wanted.remove(file)
            done.append(file)
    return done


def _held(copy: Path) -> Iterator[tuple[File, bytes, bytes]]:
    """The configurations and profiles in a copy, each with its bytes and its digest."""
    for folder in segments.generations(copy):
        for record in segments.whole(folder):
            if record.kind == Kind.CONFIGURATION and record.fields:
                gateway, number, digest, envelope, *_ = record.fields
                yield (Kind.CONFIGURATION, (gateway, number)), envelope, digest
            elif record.kind == Kind.PROFILE and record.fields:
                digest, source = record.fields
                yield (Kind.PROFILE, (digest,)), source, digest
