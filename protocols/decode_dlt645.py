"""A DL/T 645 frame as a technician reads it: the meaning of its identifier, without any profile."""

from protocols import dlt645
from protocols.dlt645_identifiers import Format, describe, show
from protocols.errors import Damaged, Impossible
from protocols.explained import Explained, refusal, rest


def explain(raw: bytes) -> Explained:
    """The frame in these bytes; when there is none, what is wrong with what looks like one."""
    frames = [frame for frame, _ in dlt645.Parser().feed(raw)]
    if not frames:
        return exactly(raw[_header(raw) or 0 :])
    chosen = next((frame for frame in frames if frame.control & dlt645.REPLY), frames[0])
    skipped: Explained = {"skipped": len(frames) - 1} if len(frames) > 1 else {}
    return _frame(chosen) | skipped


def exactly(raw: bytes) -> Explained:
    """As ``explain``, but the whole line must be one frame; Damaged."""
    return _frame(dlt645.decode(raw))


def likely(raw: bytes) -> bool:
    """Whether a broken line was meant to be such a frame."""
    return _header(raw) is not None


def _header(raw: bytes) -> int | None:
    """Where the first 68 stands that has its second 68 seven bytes on."""
    return next((at for at in range(len(raw) - 7) if raw[at] == raw[at + 7] == dlt645.START), None)


def _frame(frame: dlt645.Frame) -> Explained:
    old = frame.control & dlt645.FUNCTION in (1, 2)
    told: Explained = {"address": frame.address, "control": f"{frame.control:02X}", "identifier": None, "values": []}
    if old:
        told["note"] = "DL/T 645-1997"
    if frame.control & dlt645.REPLY and frame.control & dlt645.ERROR:
        return told | _refused_dlt645(frame)
    if frame.control == 0x93 and len(frame.data) == 6:
        return told | _fields(frame.data, (Format("N" * 12, "", False, "communication_address"),))
    if old and len(frame.data) >= 2:
        return told | {"identifier": frame.data[1::-1].hex().upper()} | rest(frame.data[2:])
    if frame.control & dlt645.FUNCTION not in (0x11, 0x12) or len(frame.data) < 4:
        return told | rest(frame.data)
    return told | _identified(frame)


def _identified(frame: dlt645.Frame) -> Explained:
    """A read and its answer: the identifier and, from the meter, what it holds."""
    identifier, data = dlt645.identifier_of(frame), frame.data[4:]
    told: Explained = {"identifier": identifier}
    if not frame.control & dlt645.REPLY:
        return told | rest(data)
    if frame.control & dlt645.MORE:
        told["note"] = "more frames follow"
    forms = describe(identifier)
    if not forms or frame.control & dlt645.FUNCTION == 0x12:
        return told | rest(data)
    return told | _fields(data, forms)


def _refused_dlt645(frame: dlt645.Frame) -> Explained:
    if not frame.data:
        raise Damaged(f"control {frame.control:02X} without data, expected an error word")
    return {"error": refusal(dlt645.refusal(frame), frame.data[0])}


def _fields(data: bytes, forms: tuple[Format, ...]) -> Explained:
    """Every field that the data holds, in order; one that does not fit is null with its bytes and the reason."""
    values: list[dict[str, object]] = []
    position = 0
    for form in forms:
        # Width from the length of the reply, not from the table: meters exist that send a byte more or less.
        field = data[position:] if len(forms) == 1 else data[position : position + form.width]
        if not field and values:
            break
        values.append(_field(field, form))
        position += len(field)
    told: Explained = {"values": values}
    return told | rest(data[position:])


def _field(field: bytes, form: Format) -> dict[str, object]:
    told: dict[str, object] = {"name": form.name, "value": None, "unit": form.unit}
    try:
        told["value"] = show(field, form)
    except Impossible as error:
        told |= {"raw": field.hex().upper(), "note": str(error)}
    return told
