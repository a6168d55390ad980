"""Where a collector keeps its things: the data folder with its store and its key."""

from pathlib import Path

from cloud import keys
from cloud.store import Store
from protocols.errors import ConfigError
from protocols.record.cose import PrivateKey

DATA = Path("/var/lib/tanmeter-collector")
STORE = "collector.db"
KEY = "collector.key"


def open_key(data: Path) -> PrivateKey:
    """The collector's key, born here at the first start; ConfigError when others may read it."""
    return keys.load_or_create(prepared(data) / KEY)


def open_store(data: Path, key: PrivateKey) -> Store:
    """The store in the data folder; StoreError when it is not ours."""
    return Store(prepared(data) / STORE, key)


def prepared(data: Path) -> Path:
    """The data folder, made when it is not there; ConfigError when it cannot be."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"--data {data}", str(error.strerror), "a folder that this user may make and write"
        ) from error
    return data
