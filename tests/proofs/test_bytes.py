"""The bytes of the proof on a small scale: what it looks for it finds, and where it is there it says so."""

from pathlib import Path
from random import Random

import pytest

from proofs import bits, bombs, fuzzing, heat, thief
from proofs.gateway import Gateway, live
from proofs.target import Cost, Send, Target
from protocols import mbus
from protocols.mbus_records import telegram
from protocols.record.block import Chunk


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    return live(tmp_path_factory.mktemp("lived") / "gateway", 5, 2)


def test_where_no_signature_is_checked_changed_bits_are_found_to_slip_through(gateway: Gateway) -> None:
    count = bits._credulous(gateway, every=8)
    assert count.violations >= 512 // 8, "the bits of the signature itself, at the least"
    assert count.found


def test_bits_of_what_is_signed_are_all_found_out(gateway: Gateway, tmp_path: Path) -> None:
    count = bits._at_rest(gateway, tmp_path, 200, Random(1))
    assert (count.tried, count.violations) == (200, 0)


def test_a_parser_that_breaks_is_found_and_one_that_does_not_reads_something(gateway: Gateway) -> None:
    def breaks(data: bytes) -> None:
        data[300]

    for name, (parser, seeds) in fuzzing.parsers(gateway).items():
        reached, failure = fuzzing.feed(parser, seeds, Random(name), 300)
        assert (failure, reached > 0) == ("", True), name
    chunks = fuzzing.parsers(gateway)["chunk"][1]
    assert Chunk.from_bytes(chunks[0])
    assert "IndexError" in fuzzing.feed(breaks, [b"short"], Random(1), 300)[1]


def test_no_two_telegrams_of_the_thief_have_one_shape() -> None:
    """Each has the length of all, and as many records: it is by what they are of that they differ."""
    said = [telegram(mbus.decode(heat._unlike(number))) for number in (*range(20), 3_000, 3_938)]
    assert {len(held.records) for held in said} == {1 + heat.RECORDS}
    assert len({tuple(record.key for record in held.records) for held in said}) == len(said)


class Deaf(Target):
    """A collector that puts off whatever it is sent, at no cost."""

    def __init__(self) -> None:
        """There is no process."""

    def cost(self, send: Send) -> Cost:
        """Of nothing that was done."""
        return Cost(0.0, 0.0, 0, bombs.NOT_YET)

    def alive(self) -> bool:
        """It answers."""
        return True


def test_a_block_that_is_put_off_for_ever_is_found() -> None:
    line = bombs._thrown(Deaf(), {f"modbus: 9 {thief.WHOLE}": lambda _: bombs.NOT_YET}, "bombs", 1)
    assert line.violations == 1 and "not taken" in line.found[0]
