"""The link below TCP on a small scale, by HTTP: packets lost, doubled, out of order, and for a while none."""

import pytest

from proofs.link import forbidden, trial

pytestmark = pytest.mark.xdist_group("link")


def test_packets_that_are_lost_doubled_and_out_of_order_lose_nothing_and_count_nothing_twice(tmp_path):
    if why := forbidden():
        pytest.skip(why)
    line = trial(tmp_path, "http", 2.0, 1.0, 4)
    assert line.faults == () and line.tried == 1
    assert all(line.fired.values())
