"""A configuration that rots while blocks which were taken under it wait to be booked."""

from pathlib import Path
from typing import Any

import pytest

from cloud.store import Store
from protocols.errors import RottenError
from protocols.record.cose import PrivateKey
from tests.cloud.store.conftest import site_toml
from tests.cloud.store.test_unbooked import append, image, waiting


def test_a_configuration_that_rots_while_blocks_wait_leaves_none_of_them_out(tmp_path: Path, box: Any) -> None:
    """They are good: once it is put back they are booked."""
    path, key = tmp_path / "rotten.db", PrivateKey.generate()
    with Store(path, key) as held:
        box.enrol(held)
        append(held, box.block(), now=box.utc)
        held.book()
        envelope = box.signed_config(2, site_toml() + b"# another\n", box.configuration[1])
        held.put_config(box.id, envelope, box.profiles, box.utc)
        box.use(envelope, 2, site_toml() + b"# another\n")
        append(held, box.block(), now=box.utc)
        left = image(path, tmp_path / "left.db")
    with Store(left, key) as held:
        with held.writing() as db:
            (sound,) = db.execute("SELECT envelope FROM configs WHERE number = 2").fetchone()
            db.execute("UPDATE configs SET envelope = zeroblob(90) WHERE number = 2")
        with pytest.raises(RottenError):
            held.book()
        assert waiting(held) == [box.id] and not held.incidents()
        with held.writing() as db:
            db.execute("UPDATE configs SET envelope = ? WHERE number = 2", (sound,))
        (interval, *_) = [row.interval for row in held.intervals(gateway=box.id) if row.interval.device == "M-01"]
        assert interval.register_end.seq == 1
