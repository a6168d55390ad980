"""No builder of a request writes, freezes, clears, switches or resets, and no room above the protocols encodes one."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.read_only.builders import BUILDERS, build

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", BUILDERS)
def test_no_arguments_make_a_builder_build_anything_but_a_read(name: str) -> None:
    builder = BUILDERS[name]
    assert build(builder, dict(zip(builder.arguments, builder.fitting, strict=True))), "these fit"

    @settings(max_examples=200, deadline=None)
    @given(st.fixed_dictionaries(builder.arguments))
    def swept(arguments: dict[str, Any]) -> None:
        build(builder, arguments)

    swept()


ENCODES = {
    "modbus.frame_rtu",
    "modbus.frame_tcp",
    "dlt645_frame.Frame.to_bytes",
    "cjt188.Frame.to_bytes",
    "mbus.Frame.to_bytes",
    "hj212.frame",
}
"""What puts any content into a frame: for the builders, and for simulated meters; see below who may call it."""
UNDER_ANOTHER_NAME = {
    "modbus.Request.pdu": "modbus.Request",
    "modbus.Request.rtu": "modbus.Request",
    "modbus.Request.tcp": "modbus.Request",
    "dlt645_edition.Question.to_bytes": "dlt645_edition.Question",
    "dlt645_edition.Edition.read_request": "dlt645_edition.Edition",
    "mbus.Request.to_bytes": "mbus.Request",
}
BY_THE_DRIVERS = {"dlt645_edition.Edition.pending"}
"""Swept through the follow-ups of every driver."""
TAKES_APART = {"feed", "received", "payload", "payload_rtu", "payload_tcp", "unseparated", "checksum"}


def makes_bytes() -> Iterator[str]:
    """Everything public in the protocols that returns or yields bytes."""
    for path in sorted((ROOT / "protocols").glob("*.py")):
        bodies = [("", ast.parse(path.read_text("utf-8")).body)]
        for prefix, body in bodies:
            for node in body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bodies.append((f"{node.name}.", node.body))
                elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                    returns = ast.unparse(node.returns)
                    if returns in ("bytes", "bytes | None") or returns.startswith("Generator[bytes"):
                        yield f"{path.stem}.{prefix}{node.name}"


def test_every_builder_of_every_protocol_is_swept() -> None:
    found = {name for name in makes_bytes() if name.rpartition(".")[2] not in TAKES_APART}
    known = set(BUILDERS) | set(UNDER_ANOTHER_NAME) | BY_THE_DRIVERS | ENCODES
    assert found and found <= known, "sweep these: add them to BUILDERS"


ENCODERS = ("Frame", "frame", "frame_rtu", "frame_tcp", "Question", "Edition")
"""What encodes any frame: for the protocols themselves, and for simulated meters. No other room may call it."""

COMPOSES_REPLIES = {"drivers/compose.py"}
"""Where the answers of proof frames are made up."""


def encodes(path: Path) -> Iterator[str]:
    """Calls of an encoder that comes from a protocol's module."""
    tree = ast.parse(path.read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module is not None]
    ours = {
        name.asname or name.name for node in imports if str(node.module).startswith("protocols") for name in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            owner, name = called, getattr(called, "id", "")
            if isinstance(called, ast.Attribute):
                owner, name = called.value, called.attr
            if name in ENCODERS and getattr(owner, "id", "") in ours:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"


@pytest.mark.parametrize("room", ["drivers", "edge", "provisioning"])
def test_no_room_above_the_protocols_encodes_a_frame(room: str) -> None:
    paths = [path for path in (ROOT / room).rglob("*.py") if str(path.relative_to(ROOT)) not in COMPOSES_REPLIES]
    assert paths and [found for path in paths for found in encodes(path)] == []
