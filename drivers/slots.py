"""When a question is due: on UTC multiples of its period. Edge, collector and verifier count with this."""


def slots(period_ms: int, start: int, end: int) -> range:
    """The multiples of the period in [start, end), UTC ms."""
    return range(-(-start // period_ms) * period_ms, end, period_ms)
