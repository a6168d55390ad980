"""DL/T 645: what a control byte asks or answers, in words: for the decoder, which tells also what we never ask."""

from protocols.dlt645_frame import ERROR, FUNCTION, MORE, REPLY, Frame

FUNCTIONS_2007 = {
    0x03: "security authentication",
    0x08: "broadcast the time",
    0x11: "read data",
    0x12: "read follow-up data",
    0x13: "read the communication address",
    0x14: "write data",
    0x15: "write the communication address",
    0x16: "freeze",
    0x17: "change the baud rate",
    0x18: "change a password",
    0x19: "clear the maximum demand",
    0x1A: "clear the meter",
    0x1B: "clear events",
    0x1C: "control the relay",
    0x1D: "set the multifunction output",
}
FUNCTIONS_1997 = {
    0x01: "read data",
    0x02: "read follow-up data",
    0x03: "read again",
    0x04: "write data",
    0x08: "broadcast the time",
    0x0A: "write the device address",
    0x0C: "change the baud rate",
    0x0F: "change the password",
    0x10: "clear the maximum demand",
}
_SHARED = 0x03
"""A function of both editions: that of 2007 always has an identifier of four bytes, or the two bytes of its error."""


def is_1997(frame: Frame) -> bool:
    """Whether a frame's function is one of the edition of 1997; the broadcast of the time is the same in both."""
    function = frame.control & FUNCTION
    if function == _SHARED:
        return len(frame.data) < 4 and not (frame.control & ERROR and len(frame.data) == 2)
    return function in FUNCTIONS_1997 and function not in FUNCTIONS_2007


def meaning(frame: Frame) -> str:
    """A control byte in words: ``request: read data``, ``reply: read data, more frames follow``, ``refusal: ...``."""
    names = FUNCTIONS_1997 if is_1997(frame) else FUNCTIONS_2007
    name = names.get(frame.control & FUNCTION, f"unknown function {frame.control & FUNCTION:02X}")
    if not frame.control & REPLY:
        return f"request: {name}"
    if frame.control & ERROR:
        return f"refusal: {name}"
    return f"reply: {name}" + (", more frames follow" if frame.control & MORE else "")
