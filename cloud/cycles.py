"""How often a process of the collector looks for cycles among its objects.

What a block is made of is a tree: it is freed when it is done with. Looking for cycles in thousands of such trees costs
a tenth to a fifth of the time and finds nothing; and what the process began with stays for as long as it runs.
"""

import gc

OBJECTS = 100_000
"""More containers than freed by so many, and the young ones are looked through."""


def look_seldom() -> None:
    """Leave what is there now out of every search, and search seldom: some cycles of requests and errors do arise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 10, 10)
