"""CRC-16 with the polynomial A001, lowest bit first (MODBUS over serial line V1.02, 6.2.2), also that of HJ 212."""


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        entry = byte
        for _ in range(8):
            entry = entry >> 1 ^ 0xA001 if entry & 1 else entry >> 1
        entries.append(entry)
    return tuple(entries)


TABLE = _table()
"""What a byte in the lower half of the register makes of it."""
