"""A row of one gateway that has rotted holds up that gateway at most: others are taken and shown, and it is named."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud import formers, mend
from cloud.soundness import check
from protocols.errors import RottenError
from protocols.record.answer import Answer
from protocols.record.cose import PrivateKey
from protocols.record.former import sign_former
from protocols.record.receipt import RECEIVED, Receipt, open_receipt, sign_receipt
from tests.cloud import tables
from tests.cloud.box import MAIN, Box
from tests.cloud.conftest import House

FORMER = PrivateKey.generate()
"""The key of the collector that they had before."""
OPEN = (
    "rows = substr(rows, 3)",
    "rows = replace(rows, '\"1000.', '\"x000.')",
    "rows = CAST(replace(CAST(rows AS BLOB), 'M-01', x'4dff3031') AS TEXT)",
)
NO_TEXT = "CAST(x'7bff7d' AS TEXT)"
LISTS = ("/v1/health", "/v1/gateways", "/v1/incidents", "/v1/intervals", "/v1/emissions", "/v1/warnings", "/", "/city")


def site(name: str) -> bytes:
    main, other = tables.device("M-01", "test-meter", MAIN), tables.device("M-02", "test-meter", address=2)
    return tables.site(main + other, name, name).encode()


class Three:
    """A collector with three gateways, each at a site of its own and with a receipt of a former collector; one of them
    is to be ``spoilt``.
    """

    def __init__(self, folder: Path) -> None:
        self.boxes = [Box(place=name, site=site(name)) for name in ("plant-7", "plant-8", "plant-9")]
        self.spoilt, *self.others = self.boxes
        self.receipts = []
        self.house = House(folder, self.spoilt.utc)
        for box in self.boxes:
            box.enrol(self.house.store)
            box.deliver(self.house.store, 2, 300_000)
            receipt = Receipt(box.key.public.id, 0, box.seq, box.previous, RECEIVED, box.utc)
            self.receipts.append(sign_receipt(receipt, FORMER))
            self.show(box)
        self.house.now = self.spoilt.utc

    @property
    def name(self) -> str:
        """Of the gateway that is to be spoilt."""
        return self.spoilt.key.public.id.hex()

    def show(self, box: Box) -> None:
        """It shows the receipt of the collector that it had before."""
        word = sign_former(box.key, FORMER.public)
        formers.take(self.house.store, word, [self.receipts[self.boxes.index(box)]], box.utc)

    def begin_epochs(self) -> None:
        """Each begins an epoch after the receipt of the collector that it had before."""
        for box, receipt in zip(self.boxes, self.receipts, strict=True):
            box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()

    def rot(self, statement: str, *values: Any) -> None:
        """Rot a row as the disk does, once all is booked, and start anew."""
        self.house.store.book()
        with self.house.store.writing() as db:
            assert db.execute(statement, values).rowcount == 1, statement
        self.open_anew()

    def open_anew(self) -> None:
        """The collector ends and starts."""
        self.house.close()
        self.house = House(self.house.store.path.parent, self.house.now, self.house.key)

    def send(self) -> list[Any]:
        """A block of each, all in one batch of batches: the answer to each, or what it failed with."""
        self.sent = [box.block() for box in self.boxes]
        self.house.now = self.spoilt.utc

        async def together() -> list[Any]:
            sent = [self.house.writer.append([frame]) for frame in self.sent]
            return await asyncio.gather(*sent, return_exceptions=True)

        return [_answer(one) for one in asyncio.run(together())]

    def get(self, path: str) -> Any:
        found = self.house.client.get(path, headers={"accept": "text/html", "accept-language": "en"})
        assert found.status_code == 200, (path, found.text)
        return found


def _answer(found: Any) -> Any:
    if isinstance(found, BaseException):
        return found
    (verdict,) = found.verdicts
    return verdict.answer


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    found = Three(tmp_path / "data")
    yield found
    found.house.close()


def taken(answers: Sequence[Any]) -> bool:
    return list(answers) == [Answer.STORED] * len(answers)


@pytest.mark.parametrize("how", OPEN)
def test_open_intervals_that_have_rotted_hold_up_their_gateway_alone_until_it_is_rebooked(
    three: Three, how: str
) -> None:
    three.rot(f"UPDATE open_intervals SET {how} WHERE gateway = ?", three.spoilt.key.public.id)
    spoilt, *others = three.send()
    assert taken(others)
    assert isinstance(spoilt, RottenError) and three.name in str(spoilt)
    health = three.get("/v1/health").json()
    assert health["unreadable"]["gateways"] == [three.name] and "rotten" in health["reasons"]
    shown = three.get("/v1/intervals").json()["data"]
    assert {row["gateway"] for row in shown if "unreadable" in row} == {three.name}
    for box in three.others:
        own = [row for row in shown if row["gateway"] == box.key.public.id.hex()]
        assert len(own) == 4 and not any("unreadable" in row for row in own)
    for path in (*LISTS, "/?site=plant-7", "/?site=plant-8"):
        three.get(path)
    told = {one["site"]: "unreadable" in one for one in three.get("/v1/emissions").json()["data"]}
    assert {**told, "plant-7": True} == {"plant-7": True, "plant-8": False, "plant-9": False}
    store, key = three.house.store, three.house.key
    (named,) = check(store, key.public, three.house.now)
    assert three.name in str(named) and "--rebook" in str(named)
    assert mend.rebook_all(store, key, None, three.name, three.house.now).left == 0
    assert check(store, key.public, three.house.now) == []
    (answer,) = store.append(three.sent[:1], three.house.now).verdicts
    assert answer.answer == Answer.STORED
    assert three.get("/v1/health").json()["unreadable"]["gateways"] == []


def test_a_gateway_that_is_held_up_is_told_of_once_and_no_question_tries_to_book_it(
    three: Three, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = three.spoilt.key.public.id
    three.rot("UPDATE open_intervals SET rows = '[' WHERE gateway = ?", name)
    for _ in range(2):
        assert isinstance(three.send()[0], RottenError)
    assert [record.getMessage().split()[1] for record in caplog.records if "held up" in record.getMessage()] == [
        three.name
    ]
    with three.house.store.writing() as db:
        db.execute("INSERT INTO unbooked VALUES (?, 0, 1)", (name,))
    booked, book = list[bytes](), three.house.store._book

    def spied(gateway: bytes, end: float) -> None:
        booked.append(gateway)
        book(gateway, end)

    monkeypatch.setattr(three.house.store, "_book", spied)
    assert three.house.store.as_of() and booked and name not in booked
    with pytest.raises(RottenError, match=three.name):
        three.house.store.book()


@pytest.mark.parametrize("how", ["detail = '{'", f"detail = {NO_TEXT}", f"by = {NO_TEXT}", "body = x'00'"])
def test_an_epoch_after_a_receipt_of_a_former_collector_that_has_rotted_is_taken(three: Three, how: str) -> None:
    """What the receipt says stands in it, and beside it."""
    three.rot(f"UPDATE journal SET {how} WHERE kind = 'receipt' AND id LIKE ?", f"{three.name}/%")
    three.begin_epochs()
    assert taken(three.send())
    told = [row for row in three.house.store.incidents() if row.kind == "epoch"]
    assert len(told) == 3 and all("is of the collector it had before" in row.detail for row in told)
    assert not [row for row in three.house.store.incidents() if row.kind == "missing"]


def test_a_receipt_of_which_nothing_can_be_read_keeps_out_its_epoch_alone_until_it_is_shown_again(three: Three) -> None:
    how = f"UPDATE journal SET body = x'00', detail = {NO_TEXT} WHERE kind = 'receipt' AND id LIKE ?"
    three.rot(how, f"{three.name}/%")
    three.begin_epochs()
    spoilt, *others = three.send()
    assert taken(others) and isinstance(spoilt, RottenError) and "receipt" in str(spoilt)
    assert three.get("/v1/health").json()["unreadable"]["gateways"] == [three.name]
    three.show(three.spoilt)
    (answer,) = three.house.store.append(three.sent[:1], three.house.now).verdicts
    assert answer.answer == Answer.STORED
    assert three.get("/v1/health").json()["unreadable"]["gateways"] == []


TEXTS = {
    "gateways": ("site", "reason"),
    "incidents": ("kind", "detail"),
    "closed_intervals": ("device", "unit", "meter", "start_value", "end_value", "consumption", "quality", "state"),
    "latest": ("device", "points"),
    "power": ("device", "point"),
    "doubts": ("device", "point", "value"),
    "settings": ("device", "point", "meter", "value"),
}


@pytest.mark.parametrize("table", TEXTS)
def test_bytes_that_are_no_text_in_the_rows_of_one_gateway_stop_no_list_and_no_other_gateway(
    three: Three, table: str
) -> None:
    """SQLite hands out no such text, nor what follows it."""
    name = three.spoilt.key.public.id
    three.house.store.book()
    with three.house.store.writing() as db:
        db.execute("INSERT INTO doubts VALUES (?, 'M-01', 'energy_import', 0, 1, '1000.1', 0, 0, 0)", (name,))
        db.execute("INSERT INTO settings VALUES (?, 'M-01', 'ct', 0, 'm', '80', 0, 0, 0)", (name,))
        db.execute("INSERT INTO power VALUES (?, 'M-01', 'power', 0, 1.5, 1.5, 1)", (name,))
        db.execute("INSERT INTO incidents VALUES (NULL, ?, 0, 'fork', 0, 0, 'two')", (name,))
        sets = ", ".join(f"{column} = CAST(x'ff' || {column} AS TEXT)" for column in TEXTS[table])
        assert db.execute(f"UPDATE {table} SET {sets} WHERE gateway = ?", (name,)).rowcount, "a row of it"
    three.open_anew()
    assert taken(three.send()[1:])
    for path in (*LISTS, "/?site=plant-8", f"/v1/gateways/{three.others[0].key.public.id.hex()}"):
        three.get(path)


def test_a_gateway_whose_row_has_another_name_keeps_no_page_from_being_shown(three: Three) -> None:
    three.rot("UPDATE gateways SET gateway = zeroblob(16) WHERE gateway = ?", three.spoilt.key.public.id)
    assert taken(three.send()[1:])
    for path in (*LISTS, "/?site=plant-7", "/?site=plant-8"):
        three.get(path)


@pytest.mark.parametrize(
    "how",
    [
        "UPDATE configs SET envelope = zeroblob(90) WHERE gateway = ?",
        "UPDATE configs SET digest = zeroblob(32) WHERE gateway = ?",
        "UPDATE gateways SET technician_spki = spki WHERE gateway = ?",
        "UPDATE gateways SET algorithm = 7 WHERE gateway = ?",
        "UPDATE gateways SET head = zeroblob(32) WHERE gateway = ?",
    ],
)
def test_what_a_gateway_is_trusted_by_has_rotted_and_none_of_its_good_blocks_is_refused_for_that(
    three: Three, how: str
) -> None:
    """A block that is refused is not sent again."""
    three.rot(how, three.spoilt.key.public.id)
    spoilt, *others = three.send()
    assert taken(others) and isinstance(spoilt, RottenError) and three.name in str(spoilt)
    for path in (*LISTS, "/?site=plant-8"):
        three.get(path)
    assert three.house.store.counts().refused_blocks == 0


@pytest.mark.parametrize(
    ("how", "held_up"),
    [
        ("blocks SET gateway = zeroblob(16)", False),
        ("blocks SET hash = 7", False),
        ("blocks SET seq = seq + 9", False),
        ("blocks SET frame = 7", False),
        ("blocks SET seq = 'x' || seq", False),
        ("blocks SET epoch = 'x'", False),
        ("blocks SET utc_end = 'x', config_number = x'00'", False),
        ("gateways SET spki = zeroblob(9)", True),
        ("gateways SET head = 7", True),
        ("gateways SET next_seq = 'x'", True),
        ("configs SET envelope = zeroblob(9)", True),
        ("open_intervals SET rows = '['", True),
        ("receipts SET envelope = zeroblob(9)", False),
    ],
)
def test_a_start_names_what_has_rotted_of_one_gateway_and_serves_all_others(
    three: Three, how: str, held_up: bool
) -> None:
    """Where its blocks could not be judged it is held up, and none of them is refused."""
    name = three.spoilt.key.public.id
    three.house.store.book()
    with three.house.store.writing() as db:
        assert db.execute(f"UPDATE {how} WHERE gateway = ?", (name,)).rowcount
    three.open_anew()
    store = three.house.store
    told = check(store, three.house.key.public, three.house.now)
    assert bool(told) == ("receipts" not in how) and all(
        three.name in str(one) or "zeroblob(16)" in how for one in told
    )
    assert (name in store.held_up) == held_up and len(store.held_up) == held_up
    spoilt, *others = three.send()
    assert taken(others) and store.counts().refused_blocks == 0
    assert isinstance(spoilt, RottenError) if held_up else spoilt == Answer.STORED


def test_a_newest_receipt_that_has_rotted_is_no_word_of_another_key_and_a_new_one_takes_its_place(three: Three) -> None:
    """Nor does one of level 2 keep the second copy from going on."""
    store, box, now = three.house.store, three.spoilt, three.house.now
    store.settle(store.as_of(), 0, None, now)
    with store.writing() as db:
        db.execute("UPDATE receipts SET envelope = zeroblob(9) WHERE gateway = ?", (box.key.public.id,))
    three.open_anew()
    store = three.house.store
    assert check(store, three.house.key.public, now) == []
    answered = store.append([box.block()], now)
    assert open_receipt(answered.receipt or b"", three.house.key.public).next_seq == box.seq
    store.settle(store.as_of(), 0, None, now + 1)
    settled = store.append([box.block()], now).settled
    assert settled is not None and open_receipt(settled, three.house.key.public).next_seq == box.seq - 1


@pytest.mark.parametrize(
    "how", ["value = 'x'", "value = x'00ff'", "value = 3", "value = -5", "value = 1 << 62", "name = 'x'"]
)
def test_the_count_of_ingest_numbers_that_has_rotted_is_counted_anew_by_the_rows(
    three: Three, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """None is given twice, nor one below what a client or the second copy has seen."""
    store = three.house.store
    store.book()
    before = store.as_of()
    with store.writing() as db:
        assert db.execute(f"UPDATE meta SET {how} WHERE name = 'ingest_seq'").rowcount == 1
    three.open_anew()
    store = three.house.store
    assert check(store, three.house.key.public, three.house.now) == []
    assert "ingest number" in caplog.text and store.as_of() == before
    assert taken(three.send())
    with store.booked() as db:
        given = "SELECT ingest_seq FROM blocks UNION ALL SELECT ingest_seq FROM intervals"
        numbers = [number for (number,) in db.execute(f"{given} ORDER BY ingest_seq")]
    assert numbers == sorted(set(numbers)) and numbers[-1] == store.as_of() > before
    caplog.clear()
    assert check(store, three.house.key.public, three.house.now) == [] and "ingest number" not in caplog.text


def test_the_count_of_ingest_numbers_that_rots_while_it_serves_takes_nobody_down(three: Three) -> None:
    store = three.house.store
    store.book()
    before = store.as_of()
    with store.writing() as db:
        db.execute("UPDATE meta SET value = x'00' WHERE name = 'ingest_seq'")
    for path in LISTS:
        three.get(path)
    assert taken(three.send()) and store.as_of() > before
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM facts WHERE typeof(after) <> 'integer'").fetchone() == (0,)


def test_a_text_of_an_interval_that_has_rotted_is_read_as_far_as_it_is_one(three: Three) -> None:
    """Series are read in SQLite's own way, which hands out none of it; what follows is read as before."""
    store, gateway, span = three.house.store, three.spoilt.key.public.id, (0, three.spoilt.utc)
    sound = store.series(gateway, "M-01", "energy_import", *span)
    number = "SELECT min(ingest_seq) FROM closed_intervals WHERE gateway = ? AND device = 'M-01'"
    three.rot(f"UPDATE closed_intervals SET unit = {NO_TEXT} WHERE ingest_seq = ({number})", gateway)
    for _ in range(2):
        read = three.house.store.series(gateway, "M-01", "energy_import", *span)
        assert [row.unit for row in read] == ["{\ufffd}", *[row.unit for row in sound[1:]]]
        assert [row.consumption for row in read] == [row.consumption for row in sound]
