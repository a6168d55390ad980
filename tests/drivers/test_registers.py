"""Modbus types and word orders: vectors both ways, every combination, and what is no number."""

import json
from decimal import Decimal
from pathlib import Path
from struct import pack
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from drivers.registers import REGISTERS, Order, Type, coding, field, most, number, ordered
from protocols.errors import Impossible

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "registers.json").read_text())
ORDERS = get_args(Order)
TYPES = [kind for kind in REGISTERS if kind != "bit"]


def bounds(kind: str) -> tuple[int, int]:
    """The least and the greatest number of a type."""
    bits = 16 * REGISTERS[kind]
    match coding(kind):
        case "bcd":
            return 0, 10 ** (bits // 4) - 1
        case "sm":
            return 1 - (1 << bits - 1), (1 << bits - 1) - 1
        case "mod10k":
            return 1 - 10 ** (bits // 4), 10 ** (bits // 4) - 1
        case "i":
            return -(1 << bits - 1), (1 << bits - 1) - 1
        case _:
            return 0, (1 << bits) - 1


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda vector: f"{vector['type']} {vector.get('order', '')} {vector['bytes']}"
)
def test_vectors(vector: dict[str, Any]) -> None:
    raw = ordered(bytes.fromhex(vector["bytes"]), vector.get("order", "ABCD"))
    assert len(raw) == 2 * REGISTERS[vector["type"]]
    value = number(raw, vector["type"])
    assert value == (None if vector["value"] is None else Decimal(vector["value"])), vector["source"]
    if value is not None and vector["source"] != "arithmetic: minus zero":
        written = field(value if isinstance(value, int) else float(value), vector["type"])
        assert ordered(written, vector.get("order", "ABCD")) == bytes.fromhex(vector["bytes"])


def test_every_type_says_how_many_registers_it_takes() -> None:
    assert set(get_args(Type)) == set(REGISTERS)
    assert all(REGISTERS[kind] * 16 == int(kind.removeprefix(coding(kind))) for kind in TYPES)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [kind for kind in TYPES if coding(kind) != "f"])
@settings(deadline=None)
@given(data=st.data())
def test_every_whole_number_in_every_order_is_read_back(kind: str, order: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(*bounds(kind)))
    wire = ordered(field(value, kind), order)
    assert number(ordered(wire, order), kind) == value


@pytest.mark.parametrize("order", ORDERS)
@settings(deadline=None)
@given(data=st.data())
def test_every_float_in_every_order_is_read_back(order: str, data: st.DataObject) -> None:
    for kind, form, width in (("f32", ">f", 32), ("f64", ">d", 64)):
        value = data.draw(st.floats(width=width))
        read = number(ordered(ordered(pack(form, value), order), order), kind)
        assert read == Decimal(value) if abs(value) < float("inf") else read is None


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8), st.sampled_from(TYPES))
def test_any_bytes_are_a_number_or_none_or_impossible(raw: bytes, kind: str) -> None:
    try:
        value = number(raw[: 2 * REGISTERS[kind]], kind)
    except Impossible:
        assert coding(kind) in ("bcd", "mod10k")
    else:
        assert value is None or coding(kind) == "f" or bounds(kind)[0] <= value <= bounds(kind)[1]


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        ("bcd32", "0000000A", "is not BCD"),
        ("bcd16", "FFF0", "is not BCD"),
        ("mod10k32", "00002710", "word 10000"),
        ("mod10k32", "D8F00000", "word -10000"),
    ],
)
def test_what_is_no_number_is_impossible(kind: str, raw: str, said: str) -> None:
    with pytest.raises(Impossible, match=said):
        number(bytes.fromhex(raw), kind)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if coding(kind) != "f"])
def test_a_number_that_does_not_fit_is_not_written(kind: str) -> None:
    assert most(kind) == bounds(kind)[1]
    assert number(field(most(kind), kind), kind) == most(kind)
    for value in (most(kind) + 1, -most(kind) - 2):
        with pytest.raises(OverflowError):
            field(value, kind)


def test_orders_are_where_the_bytes_of_a_number_lie() -> None:
    assert [ordered(b"ABCD", order) for order in ORDERS] == [b"ABCD", b"CDAB", b"BADC", b"DCBA"]
    assert ordered(b"ABCDEFGH", "CDAB") == b"GHEFCDAB"
    assert ordered(b"ABCDEF", "DCBA") == b"FEDCBA"


ORACLE = {
    "u16": "UINT16", "i16": "INT16", "u32": "UINT32", "i32": "INT32",
    "u64": "UINT64", "i64": "INT64", "f32": "FLOAT32", "f64": "FLOAT64",
}  # fmt: skip


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8), st.sampled_from(list(ORACLE)), st.sampled_from(["ABCD", "CDAB"]))
def test_pymodbus_reads_the_same(raw: bytes, kind: str, order: Literal["ABCD", "CDAB"]) -> None:
    """A second opinion on the types and orders that it has."""
    wire = raw[: 2 * REGISTERS[kind]]
    words = [int.from_bytes(wire[at : at + 2]) for at in range(0, len(wire), 2)]
    theirs = ModbusClientMixin.convert_from_registers(
        words, ModbusClientMixin.DATATYPE[ORACLE[kind]], word_order="big" if order == "ABCD" else "little"
    )
    ours = number(ordered(wire, order), kind)
    assert isinstance(theirs, int | float)
    assert ours == Decimal(theirs) if abs(theirs) < float("inf") else ours is None
