"""How soon a meter answers, counted as Prometheus wants it: a histogram by its upper bounds."""

from bisect import bisect_left

BOUNDS_MS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Responses:
    """The answers of one meter since the start."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0

    def add(self, ms: int) -> None:
        """One answer began so many ms after its question."""
        self.counts[bisect_left(BOUNDS_MS, ms)] += 1
        self.sum_ms += ms
