"""Evidence packs: what holds verifies, by itself, without a server."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from cloud import statements
from cloud.accounting.statement import Statement
from cloud.evidence.pack import pack_bytes
from cloud.evidence.verify import verify
from cloud.store import Store
from protocols.errors import AccountError, EvidenceError
from protocols.record import siteconfig, transport
from protocols.record.block import Event, EventKind
from protocols.record.cose import ES256, PrivateKey
from tests.cloud.box import DAY, MINUTE, SITE, Box, store_config
from tests.cloud.evidence.packs import blocks_of, forged, packed, refused, relaid, unpacked


def test_an_untouched_pack_holds_and_says_the_figure(pack: bytes, statement: Statement, box: Box) -> None:
    report = verify(pack)
    assert report.statement == statement
    assert [walked.identity.id for walked in report.gateways] == [box.key.public.id.hex()]
    assert report.gateways[0].blocks == 6
    assert report.gateways[0].readings == 6 * 6 * 2 * 2
    assert statement.content.coverage.readings == 4 * 6


def test_the_figure_is_the_registers_times_the_ratio_times_the_factor(statement: Statement) -> None:
    run = statement.content.lines[0].meters[0].runs[0]
    assert run.multiplier == 80
    assert statement.content.kwh == (run.closing.value - run.opening.value) * 80
    assert statement.content.tco2 * 1000 == statement.content.kwh * statement.content.lines[0].factor.value
    assert statement.content.breakdown[0].device == "M-02"


def test_the_tree_ends_in_the_frame_that_was_on_the_wire(pack: bytes, box: Box) -> None:
    report = verify(pack)
    meter = report.statement.content.lines[0].meters[0]
    for register in (meter.runs[0].opening, meter.runs[-1].closing):
        frame = report.frame(meter.gateway, meter.device, meter.point, register)
        assert frame is not None
        assert frame.value == str(register.value)
        assert int.from_bytes(frame.reply[3:7]) == register.value * 100
        assert frame.request == bytes.fromhex("010300000003" + "05cb")


def test_the_same_version_packs_to_the_same_bytes(
    collector: Store, box: Box, statement: Statement, pack: bytes
) -> None:
    """Pulled twice; and again when a newer one stands beside it, and of its last interval more is known."""
    assert collector.key is not None
    assert pack_bytes(collector, collector.key, statement) == pack
    box.deliver(collector, 40)
    assert statements.close(collector, "plant-7", DAY, box.utc).version == 2
    assert pack_bytes(collector, collector.key, statement) == pack


def test_an_older_version_still_packs_and_holds_after_late_data(
    collector: Store, box: Box, statement: Statement
) -> None:
    assert collector.key is not None
    box.deliver(collector, 10)
    newer = statements.close(collector, "plant-7", DAY, box.utc)
    assert (newer.version, newer.supersedes) == (2, 1)
    assert newer.difference is not None
    assert newer.difference.kwh == newer.content.kwh - statement.content.kwh > 0
    for version in (statement, newer):
        assert verify(pack_bytes(collector, collector.key, version)).statement == version
    assert statements.get(collector, statement.reference) == statement


def test_no_new_version_without_a_change(collector: Store, box: Box, statement: Statement) -> None:
    assert statements.close(collector, "plant-7", DAY, box.utc) == statement
    assert statements.live(collector, "plant-7", DAY, box.utc) == statement
    assert [entry.version for entry in statements.versions(collector, statement.id)] == [1]


def test_live_does_not_write(collector: Store, box: Box) -> None:
    assert statements.live(collector, "plant-7", DAY, box.utc).version == 0
    assert statements.listing(collector) == []


def test_a_draft_is_not_packed(collector: Store, box: Box) -> None:
    assert collector.key is not None
    draft = statements.live(collector, "plant-7", DAY, box.utc)
    with pytest.raises(AccountError, match="issued"):
        pack_bytes(collector, collector.key, draft)


def test_a_closed_day_with_a_gap_holds(collector: Store) -> None:
    assert collector.key is not None
    box = Box()
    box.enrol(collector)
    box.deliver(collector, 40, span=15 * MINUTE)
    lost = Event(EventKind.POWER_LOSS, box.utc, box.utc + 8_100_000, "dark")
    back = Event(EventKind.BOOT, box.utc, box.utc + 8_100_000, "dark")
    box.utc, box.boot = box.utc + 8_100_000, 2
    box.deliver(collector, 1, span=15 * MINUTE, events=(lost, back))
    box.deliver(collector, 50, span=15 * MINUTE)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert [gap.kind for gap in closed.content.gaps] == ["estimated"]
    assert closed.content.gaps[0].kwh is not None
    assert closed.content.shares.missing_ms == 0
    assert verify(pack_bytes(collector, collector.key, closed)).statement == closed


def test_a_changed_ratio_holds_from_its_date_and_does_not_reach_back(collector: Store, box: Box) -> None:
    assert collector.key is not None
    site = SITE.replace(
        b'ct = "400/5"', b'ct = "400/5"\n[[device.ratios]]\nfrom = 2026-09-22T00:20:00+08:00\nct = "600/5"'
    )
    envelope = box.configured(2, site, siteconfig.digest(box.config))
    assert store_config(collector, box, envelope)
    box.use(2, envelope, site)
    box.deliver(collector, 40)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    runs = closed.content.lines[0].meters[0].runs
    assert [(str(run.multiplier), run.start[11:16]) for run in runs] == [("80", "00:00"), ("120", "00:20")]
    report = verify(pack_bytes(collector, collector.key, closed))
    assert sorted(report.gateways[0].identity.configurations) == [1, 2]


def test_a_later_epoch_brings_the_receipt_it_begins_with(collector: Store, box: Box) -> None:
    assert collector.key is not None
    receipt = collector.receipt(box.key.public.id)
    assert receipt is not None
    box.epoch, box.seq, box.previous, box.boot = 1, 0, hashlib.sha256(receipt).digest(), 2
    box.deliver(collector, 1, events=(Event(EventKind.BOOT, box.utc, box.utc, "store rebuilt"),))
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    pack = pack_bytes(collector, collector.key, closed)
    assert verify(pack).gateways[0].last == (1, 20)
    name = next(name for name in unpacked(pack) if "/receipts/" in name)

    def change(files: dict[str, bytes]) -> None:
        del files[name]

    assert refused(forged(pack, change)).file == name


def test_the_end_of_an_epoch_cannot_be_dropped_below_the_receipt_that_the_next_one_names(
    collector: Store, box: Box
) -> None:
    """The receipt may be older than the newest block of its epoch; what it names must be there."""
    _, receipt, _ = collector.append([box.block()], box.utc)
    assert receipt is not None
    box.deliver(collector, 2)
    box.epoch, box.seq, box.previous = 1, 0, hashlib.sha256(receipt).digest()
    box.deliver(collector, 9)
    pack = packed(collector, statements.close(collector, "plant-7", DAY, box.utc))
    assert verify(pack).gateways[0].blocks == 18
    assert collector.key is not None

    def without(*places: int) -> bytes:
        def change(files: dict[str, bytes]) -> None:
            name, sealed = blocks_of(box, files)
            files[name] = relaid([block for index, block in enumerate(sealed) if index not in places])

        return forged(pack, change, collector.key)

    error = refused(without(6, 7, 8))
    assert (error.rule, error.file.rsplit(" ", 1)[1]) == ("chain", "1/0")
    assert "0/6" in str(error)
    assert refused(without(7, 8)).rule == "figures"


def test_a_signed_block_that_cannot_be_is_kept_in_the_chain_and_not_booked(collector: Store, box: Box) -> None:
    assert collector.key is not None
    before = box.boot
    frame = box.block(boot=before + 1)
    verdicts, *_ = collector.append([frame], box.utc)
    assert int(verdicts[0].answer) == 4
    box.boot = before
    box.deliver(collector, 1, events=(Event(EventKind.BOOT, box.utc, box.utc, "again"),), boot=before + 2)
    box.boot = before + 2
    box.deliver(collector, 20)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    report = verify(pack_bytes(collector, collector.key, closed))
    assert list(report.gateways[0].refused) == [(0, 6)]


def test_a_block_that_names_another_digest_for_a_configuration_books_nothing(collector: Store, box: Box) -> None:
    own = box.configuration
    box.configuration = (1, bytes(32))
    verdicts, *_ = collector.append([box.block()], box.utc)
    assert int(verdicts[0].answer) == 4
    box.configuration = own
    box.deliver(collector, 10)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    report = verify(packed(collector, closed))
    assert report.statement == closed
    assert list(report.gateways[0].refused) == [(0, 6)]


def test_a_block_of_a_configuration_that_is_not_in_the_pack_is_refused(pack: bytes, box: Box) -> None:
    box.configuration = (7, bytes(32))

    def change(files: dict[str, bytes]) -> None:
        name, sealed = blocks_of(box, files)
        files[name] = relaid([*sealed, transport.unpack(box.block())])

    assert refused(forged(pack, change)).rule == "configuration"


def test_a_chip_key_signs_as_well(collector: Store) -> None:
    assert collector.key is not None
    box = Box(key=PrivateKey.generate(ES256))
    box.enrol(collector)
    box.deliver(collector, 5)
    closed = statements.close(collector, "plant-7", DAY, box.utc)
    assert verify(pack_bytes(collector, collector.key, closed)).statement == closed


def test_the_gateway_on_the_label_can_be_asked_for(pack: bytes, box: Box) -> None:
    own = box.key.public.id.hex()
    assert verify(pack, [own.upper()]).gateways[0].identity.id == own
    assert refused(pack, "00" * 16).rule == "gateway"
    assert refused(pack, own, "00" * 16).rule == "gateway"


def test_verifying_needs_no_server_no_database_and_no_numbers_library(pack: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(pack)
    script = (
        "import sys\nfrom pathlib import Path\nfrom cloud.evidence.verify import verify\n"
        "print(verify(Path(sys.argv[1])).statement.reference)\n"
        "heavy = {'fastapi', 'numpy', 'sqlite3', 'httpx', 'socket', 'starlette', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "E-plant-7-2026-09-22@1\n"


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04", b"hello"):
        assert refused(data).rule == "archive"
    with pytest.raises(EvidenceError, match="archive"):
        verify(tmp_path / "nowhere.zip")
