"""The virtual pair: characters take their time, two talkers destroy each other, everything is drawn from one seed."""

import asyncio
from random import Random

import pytest

from protocols.errors import PortGone
from simulator.ports import SerialPort
from simulator.rs485 import Noise, Pair, character_us
from simulator.stations import Mood, OtherMaster, Station, mostly, spread, steady
from simulator.time import SimClock, VirtualLoop

MODE = "9600-8N1"
CHARACTER_MS = 10_000 / 9600


class Parrot:
    """Answers its name with words of its own, and remembers what it heard and when."""

    def __init__(self, name=b"A", words=b"hello"):
        self.name, self.words, self.heard = name, words, []

    def hear(self, data, utc_ms):
        self.heard.append((utc_ms, data))
        return [self.words] if data.startswith(self.name) else []


def on_a_pair(work, noise=None, seed=1, **port):
    """Do ``work(pair, port)`` in virtual time, the port open and set to ``MODE``."""
    loop = VirtualLoop()

    async def main():
        pair = Pair(SimClock(loop, 0), Random(seed), noise)
        end = SerialPort(pair, "bus", **port)
        await end.open()
        await end.configure(MODE)
        return await work(pair, end)

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


async def listen(pair, end, seconds=1.0):
    """What comes within this time: (ms, bytes)."""
    until, came = pair.now() + seconds * 1e6, []
    while (left := until - pair.now()) > 0:
        if data := await end.read(left / 1e6):
            came.append((pair.now() / 1000, data))
    return came


def text(came):
    return b"".join(data for _, data in came)


@pytest.mark.parametrize(
    ("mode", "us"), [("9600-8N1", 1042), ("9600-8E1", 1146), ("2400-8E1", 4583), ("1200-8N2", 9167)]
)
def test_a_character_takes_its_bits(mode, us):
    assert character_us(mode) == us


def test_an_answer_comes_character_by_character_after_the_turnaround():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(30))
        await end.write(b"Axyz")
        return pair.now() / 1000, await listen(pair, end)

    sent, came = on_a_pair(work)
    assert sent == pytest.approx(4 * CHARACTER_MS, abs=0.01)
    assert [data for _, data in came] == [b"h", b"e", b"l", b"l", b"o"]
    times = [at - sent - 30 for at, _ in came]
    assert times == pytest.approx([CHARACTER_MS * n for n in range(1, 6)], abs=0.01)


def test_a_usb_adapter_hands_over_in_pieces():
    async def work(pair, end):
        Station(pair, Parrot(words=bytes(40)), MODE, steady(30))
        await end.write(b"A")
        return await listen(pair, end)

    came = on_a_pair(work, latency_ms=16)
    assert 3 <= len(came) <= 4 and len(text(came)) == 40 and all(at % 16 == 0 for at, _ in came)


def test_no_answer_comes_before_the_silence_that_ends_the_question():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(0))
        await end.write(b"A")
        return pair.now() / 1000, (await listen(pair, end))[0][0]

    sent, first = on_a_pair(work)
    assert first - sent == pytest.approx(4.5 * CHARACTER_MS, abs=0.01)


def test_two_that_talk_at_once_destroy_each_other():
    async def work(pair, end):
        for words in (b"1" * 20, b"2" * 20):
            Station(pair, Parrot(words=words), MODE, steady(30))
        await end.write(b"A")
        return text(await listen(pair, end))

    came = on_a_pair(work)
    assert len(came) == 40 and b"11" not in came and b"22" not in came


def test_what_does_not_overlap_survives_a_collision():
    async def work(pair, end):
        for words, delay in ((b"1" * 20, 30), (b"2" * 20, 40)):
            Station(pair, Parrot(words=words), MODE, steady(delay))
        await end.write(b"A")
        return text(await listen(pair, end))

    came = on_a_pair(work)
    assert came.startswith(b"1" * 8) and came.endswith(b"2" * 8) and 16 <= came.count(b"1") + came.count(b"2") <= 22


def test_everybody_hears_everybody_else():
    async def work(pair, end):
        talker, other = Parrot(), Parrot(b"B")
        for parrot in (talker, other):
            Station(pair, parrot, MODE, steady(30))
        await end.write(b"A?")
        await listen(pair, end)
        return [data for _, data in talker.heard], [data for _, data in other.heard]

    assert on_a_pair(work) == ([b"A?"], [b"A?", b"hello"])


def test_a_port_hears_itself_when_its_adapter_echoes():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(30))
        await end.write(b"A?")
        return text(await listen(pair, end))

    assert on_a_pair(work, echo=True) == b"A?hello"


@pytest.mark.parametrize("mode", ["9600-8E1", "2400-8N1"])
def test_another_mode_is_not_understood(mode):
    async def work(pair, end):
        parrot = Parrot(b"A" * 8)
        Station(pair, parrot, mode, steady(30))
        await end.write(b"A" * 8)
        return text(await listen(pair, end)), parrot.heard

    came, heard = on_a_pair(work)
    assert came == b"" and len(heard) == 1 and heard[0][1] != b"A" * 8


def test_moods_dead_cut_and_back_again():
    async def work(pair, end):
        mood = Mood(dead=True)
        Station(pair, Parrot(), MODE, steady(30), mood)
        said = []
        for change in ({}, {"dead": False, "cut": 1.0}, {"cut": 0.0, "lost": 1.0}, {"lost": 0.0}):
            for name, value in change.items():
                setattr(mood, name, value)
            await end.write(b"A")
            said.append(text(await listen(pair, end)))
        return said

    assert on_a_pair(work) == [b"", b"he", b"", b"hello"]


def test_a_meter_that_is_asked_too_soon_starts_anew():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(30), Mood(restless_ms=500, reboot_ms=3000))
        said = []
        for wait in (0.1, 0.1, 1.0, 3.0):
            await end.write(b"A")
            said.append(text(await listen(pair, end, wait)))
        await end.write(b"A")
        return [*said, text(await listen(pair, end))]

    assert on_a_pair(work) == [b"hello", b"", b"", b"", b"hello"]


def test_answers_keep_their_order_however_late():
    async def work(pair, end):
        delays = iter([900, 10, 10])
        parrot = Parrot()
        Station(pair, parrot, MODE, lambda random: next(delays))
        await end.write(b"A")
        await end.read(0.1)
        parrot.words = b"second"
        await end.write(b"A")
        return text(await listen(pair, end, 2))

    assert on_a_pair(work) == b"hellosecond"


def test_another_master_asks_and_is_heard():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(30))
        OtherMaster(pair, MODE, [b"A!", b"B!"], 200, since_ms=50)
        return text(await listen(pair, end, 0.5))

    assert on_a_pair(work) == b"A!helloB!A!hello"


def test_noise_turns_bits_over_and_makes_characters():
    async def work(pair, end):
        parrot = Parrot(words=bytes(1000))
        Station(pair, parrot, MODE, steady(30))
        await end.write(b"A")
        return text(await listen(pair, end, 10))

    flipped = on_a_pair(work, Noise(flipped=0.02), seed=3)
    assert len(flipped) == 1000 and 5 <= len(flipped) - flipped.count(0) <= 40
    assert all(byte.bit_count() <= 1 for byte in flipped)
    strays = on_a_pair(work, Noise(strays=5), seed=3)
    assert 1020 <= len(strays) <= 1090


def test_an_adapter_that_is_pulled_out_is_gone_until_it_is_back():
    async def work(pair, end):
        end.plugged = False
        with pytest.raises(PortGone):
            await end.write(b"A")
        await end.close()
        with pytest.raises(PortGone):
            await end.open()
        end.plugged = True
        await end.open()
        return True

    assert on_a_pair(work)


def test_one_seed_is_one_line():
    async def work(pair, end):
        delay = mostly(spread(20, 60), spread(400, 900), 0.2)
        Station(pair, Parrot(), MODE, delay, Mood(lost=0.1, cut=0.1))
        said = []
        for _ in range(50):
            await end.write(b"A")
            said += await listen(pair, end)
        return said

    noise = Noise(flipped=0.01, strays=1)
    first, again, other = (on_a_pair(work, noise, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_two_ports_share_a_pair():
    async def work(pair, end):
        Station(pair, Parrot(), MODE, steady(30))
        other = SerialPort(pair, "other", shared=True)
        await other.open()
        await other.configure(MODE)
        overheard = asyncio.ensure_future(listen(pair, other))
        await asyncio.sleep(0.1)
        await end.write(b"A?")
        return text(await listen(pair, end, 0.2)), text(await overheard)

    assert on_a_pair(work) == (b"hello", b"A?hello")
