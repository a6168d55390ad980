"""A collector, a gateway that has delivered to it over midnight, and the statement and the pack of its day."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud import statements
from cloud.accounting.statement import Statement
from cloud.evidence.pack import pack_bytes
from cloud.store import Store
from protocols.record.cose import PrivateKey
from tests.cloud.box import DAY, Box


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "collector.db", PrivateKey.generate()) as opened:
        yield opened


@pytest.fixture
def box(collector: Store) -> Box:
    """An enrolled gateway that has delivered six minutes over midnight."""
    found = Box()
    found.enrol(collector)
    found.deliver(collector, 6)
    return found


@pytest.fixture
def statement(collector: Store, box: Box) -> Statement:
    return statements.close(collector, "plant-7", DAY, box.utc)


@pytest.fixture
def pack(collector: Store, statement: Statement) -> bytes:
    assert collector.key is not None
    return pack_bytes(collector, collector.key, statement)
