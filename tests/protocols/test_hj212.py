"""HJ 212: captured packets both ways, what is lenient and what is strict, and streams in every kind of pieces."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import decode, decode_hj212, hj212
from protocols.errors import Damaged
from protocols.hj212 import Found, Parser
from protocols.hj212_codes import FACTORS, MARKS, UNKNOWN_MARK, UNMARKED, factor, mark
from protocols.hj212_requests import HISTORY, Asker, acknowledgement, history

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hj212.json").read_text("utf-8"))
GOOD = [vector for vector in VECTORS if vector["expected"] is not None]
BAD = [vector for vector in VECTORS if vector["expected"] is None]
SEGMENT = "QN=20261124100000000;ST=31;CN=2011;PW=123456;MN=A1;Flag=5;CP=&&DataTime=20261124100000;a05001-Rtd=1.50&&"
ASKER = Asker("31", "123456", "A1")

texts = st.text(st.characters(codec="ascii", exclude_characters="#&=;,-\r\n\t "), max_size=8)
segments = st.builds(
    lambda head, items: f"{head}CP=&&{';'.join(items)}&&",
    st.sampled_from(["", "ST=31;CN=2011;MN=1;", "QN=1;ST=31;CN=2051;PW=;MN=2;Flag=9;"]),
    st.lists(st.builds("a{}-Rtd={},a{}-Flag=N".format, st.integers(0, 9), texts, st.integers(0, 9)), max_size=4),
)
packets = segments.map(hj212.frame)
noise = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"##", b"##0040", b"##9999CP=&&", b"##0004&&&&0000", b"\r\n"])
)


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def packet(segment: str) -> hj212.Packet:
    return hj212.decode(hj212.frame(segment))


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_captured_packets_say_what_they_are_known_to_say(vector: dict[str, Any]) -> None:
    found = hj212.decode(vector["text"].encode(), vector.get("modbus_crc", False))
    said = {field.key: field.text for field in found.fields} | {"CP": {f.key: f.text for f in found.fields}}
    said |= {"QN": found.qn, "ST": found.head("ST"), "CN": found.cn, "PW": found.head("PW"), "MN": found.mn}
    said["Flag"] = str(found.flag)
    for key, value in vector["expected"].items():
        assert float(said[key]) == value if isinstance(value, float | int) else said[key] == value


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_the_segment_of_a_captured_packet_makes_the_same_packet(vector: dict[str, Any]) -> None:
    body = vector["text"].rstrip()
    if not vector.get("modbus_crc"):
        assert hj212.frame(body[6:-4]).decode().upper() == f"{body}\r\n".upper()


@pytest.mark.parametrize("vector", BAD, ids=named)
def test_bad_packets_are_refused_alone_and_in_a_stream(vector: dict[str, Any]) -> None:
    raw = vector["text"].encode()
    with pytest.raises(Damaged):
        hj212.decode(raw)
    assert Parser().feed(raw) == []


def test_the_other_crc_is_taken_only_where_the_site_says_so() -> None:
    raw = next(vector["text"].encode() for vector in VECTORS if vector.get("modbus_crc"))
    with pytest.raises(Damaged, match="found 524F, expected 4400"):
        hj212.decode(raw)
    assert hj212.decode(raw, modbus_crc=True).modbus_crc
    assert len(Parser(modbus_crc=True).feed(raw)) == 1


def test_what_the_field_does_is_borne() -> None:
    said = packet("ST=31;CN=2011;PW=;,MN=X-1;FLAG=5;NEW=7;CP=&&DataTime=20261124100000123;;,a1-Rtd=1,;a1-Rtd=2&&")
    assert (said.mn, said.flag, said.qn, said.head("PW"), said.head("NEW")) == ("X-1", 5, "", "", "7")
    assert said.data_time == "20261124100000123"
    assert said.texts("a1", "Rtd") == ("1", "2")
    assert packet("CN=C54;MN=1;Flag=255;CP=&&&&").version == 63
    assert packet("CN=1;MN=1;Flag=-;CP=&&&&").flag == 0


@given(st.binary(max_size=100))
def test_the_crc_is_that_of_annex_a(data: bytes) -> None:
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    assert hj212.crc(data) == register


def test_a_part_of_a_split_packet_stands_alone() -> None:
    said = packet("QN=1;CN=2011;MN=1;Flag=7;PNUM=3;PNO=2;CP=&&a1-Rtd=1&&")
    assert (said.part, said.wants_answer) == ((2, 3), True)
    assert packet(SEGMENT).part is None


@given(packets, st.data())
def test_no_single_flipped_bit_is_accepted(raw: bytes, data: st.DataObject) -> None:
    body = bytearray(raw[:-2])
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8
    if bytes(body).upper() != raw[:-2].upper():
        try:
            found = hj212.decode(bytes(body))
        except Damaged:
            return
        assert bytes(body)[:-4].upper() == raw[:-6].upper(), found  # a digit of the CRC in lower case


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_raise_one_of_our_errors(raw: bytes) -> None:
    for data in (raw, hj212.MARK + raw, hj212.MARK + b"%04d" % len(raw) + raw + hj212.checksum(raw)):
        try:
            hj212.decode(data)
        except Damaged:
            continue


@given(st.lists(st.one_of(packets, noise)), st.data())
def test_the_pieces_of_a_stream_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    cut, whole = Parser(), Parser()
    found: list[Found] = [one for piece in pieces for one in cut.feed(piece)]
    assert found == whole.feed(stream)
    assert [one.raw for one in cut.broken()] == [one.raw for one in whole.broken()]
    for one in found:
        assert stream[one.begin : one.begin + len(one.raw)] == one.raw


@given(st.lists(noise), packets)
def test_a_packet_behind_garbage_is_found(garbage: list[bytes], raw: bytes) -> None:
    assert raw[:-2] in [one.raw for one in Parser().feed(b"".join(garbage) + raw)]


@pytest.mark.parametrize("cut", [hj212.frame(SEGMENT)[:60], b"##0400" + SEGMENT[:60].encode()])
def test_a_packet_that_lost_its_end_is_told_and_hides_nothing(cut: bytes) -> None:
    raw = hj212.frame(SEGMENT)
    parser = Parser()
    assert [one.raw for one in parser.feed(cut + raw + b"?")] == [raw[:-2]]
    assert [one.raw.startswith(cut) for one in parser.broken()] == [True]
    assert parser.broken() == []
    parser.feed(b"????")
    assert parser.noise == len(cut)


@pytest.mark.parametrize("evil", [b"##9999", b"##9999&&", b"##0999CP=&&&&"])
def test_what_is_made_to_cost_time_costs_little(evil: bytes) -> None:
    parser, begun = Parser(), time.process_time()
    for _ in range(100):
        parser.feed(evil * 200)
    assert time.process_time() - begun < 5
    assert parser.feed(hj212.frame(SEGMENT))


def test_an_answer_is_made_only_where_it_is_wanted() -> None:
    answered = hj212.decode(acknowledgement(packet(SEGMENT)) or b"")
    assert dict(answered.header) == {
        "QN": "20261124100000000",
        "ST": "91",
        "CN": "9014",
        "PW": "123456",
        "MN": "A1",
        "Flag": "4",
    }
    assert answered.fields == ()
    assert acknowledgement(packet(SEGMENT.replace("Flag=5", "Flag=4"))) is None
    assert acknowledgement(packet(SEGMENT.replace("QN=20261124100000000;", ""))) is None
    parted = hj212.decode(acknowledgement(packet(SEGMENT.replace("Flag=5", "Flag=11;PNUM=2;PNO=1"))) or b"")
    assert parted.flag == 8


def test_history_is_all_that_can_be_asked() -> None:
    for cn in HISTORY:
        asked = hj212.decode(history(ASKER, cn, "20261124100000000", "20261124000000", "20261124090000"))
        assert (asked.cn, asked.mn, asked.flag, asked.head("ST")) == (cn, "A1", 5, "31")
        assert [field.text for field in asked.fields] == ["20261124000000", "20261124090000"]
    for cn in ("1012", "1062", "1072", "2012", "3011", "2011", "9014"):
        with pytest.raises(Damaged, match="history"):
            history(ASKER, cn, "20261124100000000", "20261124000000", "20261124090000")
    with pytest.raises(Damaged, match="14 digits"):
        history(ASKER, "2051", "20261124100000000", "2026;CN=1012;CP", "20261124090000")


def test_marks_are_numbered_in_order_and_only_n_is_zero() -> None:
    assert [mark((text,)) for text in MARKS] == list(range(8))
    assert (mark(()), mark(("P",)), mark(("N", "B"))) == (UNMARKED, UNKNOWN_MARK, UNKNOWN_MARK)


def test_old_and_new_codes_mean_one_factor() -> None:
    assert factor("B02") == factor("a00000")
    assert factor("w01001") is None
    codes = [code for one in FACTORS for code in (one.code, one.old) if code]
    assert len(codes) == len(set(codes))


def test_explain_tells_every_field_with_unit_and_mark() -> None:
    raw = next(vector["text"].encode() for vector in VECTORS if vector["name"] == "stack_hour")
    told: dict[str, Any] = decode_hj212.explain(raw)
    values = {value["name"]: value for value in told["values"]}
    assert (told["address"], told["control"], told["command"]) == ("NEWPROTOCOLTEST000000092", "2061", "hour data")
    assert values["a19001-Avg"] == {
        "name": "a19001-Avg",
        "value": "15.1909",
        "unit": "%",
        "flag": "T",
        "meaning": "oxygen, mean",
    }
    assert values["a00000-Cou"]["unit"] == "m3"
    assert values["a19001-Flag"]["meaning"] == "oxygen, mark, over range"
    assert len(values) == 41


def test_a_wrong_length_is_told_apart_from_a_packet_cut_off() -> None:
    raw = hj212.frame(SEGMENT).rstrip()
    for spoilt, cause in ((b"##0099" + raw[6:], "miscounted"), (raw[:50], "short"), (raw + raw, "long")):
        with pytest.raises(Damaged) as caught:
            hj212.decode(spoilt)
        assert (caught.value.cause, caught.value.at) == (f"cause.hj212.{cause}", 2)


def test_explain_finds_a_packet_behind_other_bytes_and_says_what_is_wrong_with_one() -> None:
    raw = hj212.frame(SEGMENT)
    assert decode_hj212.explain(b"junk" + raw + raw)["skipped"] == 1
    with pytest.raises(Damaged, match="CRC: found"):
        decode_hj212.explain(b"junk" + raw.replace(b"1.50", b"1.51"))
    with pytest.raises(Damaged) as caught:
        decode_hj212.explain(next(vector["text"].encode() for vector in VECTORS if vector.get("modbus_crc")))
    assert caught.value.cause == "cause.hj212.modbus_crc"
    assert decode_hj212.likely(raw) and decode_hj212.likely(b"##0101QN=")
    assert not decode_hj212.likely(b"68 11 22") and not decode_hj212.likely(b"##")


def test_chinese_text_in_utf8_or_gbk_is_read_and_any_bytes_are_told() -> None:
    text = SEGMENT.replace("&&", "&&Info=烟气;", 1)
    data = text.encode("gbk")
    gbk = b"##%04d" % len(data) + data + hj212.checksum(data)
    for raw in (hj212.frame(text), gbk):
        assert hj212.decode(raw).texts("", "Info") == ("烟气",)
    broken = gbk[:-1] + b"Z"
    lines = hj212.frame(text) + gbk + b"\r\n" + broken + b"\n\xff\xfe\n"
    ran = subprocess.run([sys.executable, "-m", "tanmeter", "decode"], input=lines, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (3, b"")
    assert [json.loads(line)["ok"] for line in ran.stdout.splitlines()] == [True, True, False, False]
    assert decode.explain("##0010\ud800CP=&&")["ok"] is False
