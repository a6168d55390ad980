"""QR codes of addresses (ISO/IEC 18004), by segno: small, pure Python, no image library needed."""

import io

import segno

ERROR = "m"
"""A fifteenth of the squares may be dirty."""


def png(address: str, scale: int = 6) -> bytes:
    """The address as a PNG."""
    out = io.BytesIO()
    segno.make(address, error=ERROR, micro=False).save(out, kind="png", scale=scale, border=2)
    return out.getvalue()


def svg(address: str) -> str:
    """The address as an SVG document."""
    out = io.BytesIO()
    segno.make(address, error=ERROR, micro=False).save(out, kind="svg", scale=4, border=2, xmldecl=False, svgns=True)
    return out.getvalue().decode()
