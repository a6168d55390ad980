"""Where a collector keeps its things: the data folder with its store and its key."""

from pathlib import Path

from cloud import keys
from cloud.store import Store
from protocols.errors import ConfigError
from protocols.record.cose import PrivateKey

DATA = Path("/var/lib/tanmeter-collector")
STORE = "collector.db"
KEY = "collector.key"
BATCH_S = 0.1
"""Seconds of processor: whoever signed it, a batch does not hold the others up."""


def create_key(data: Path) -> PrivateKey:
    """The collector's key, born here at the first start; ConfigError when others may read it."""
    return keys.load_or_create(_prepared(data) / KEY)


def open_key(data: Path) -> PrivateKey:
    """The collector's key; ConfigError where no collector has been started, or when others may read it."""
    if not (data / KEY).exists():
        raise ConfigError(f"--data {data}", "no collector", "the folder of one: start it with `tanmeter cloud serve`")
    return keys.load(data / KEY)


def open_store(data: Path, key: PrivateKey) -> Store:
    """The store in the data folder, which takes no longer than BATCH_S over a batch; StoreError when it is not ours."""
    return Store(data / STORE, key, batch_s=BATCH_S)


def _prepared(data: Path) -> Path:
    """The data folder, made when it is not there; ConfigError when it cannot be."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"--data {data}", str(error.strerror), "a folder that this user may make and write"
        ) from error
    return data
