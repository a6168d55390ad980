"""How questions are put: what is measured of a meter shortens what its silence costs, and nothing else."""

import pytest

from drivers import profile_file
from drivers.builtin import builtin
from drivers.driver import driver
from drivers.site import Device, Port
from edge.learned import Learned
from edge.talks import Talks

SERIAL = Port(name="bus", device="/dev/bus", mode="9600-8N1")
NET = Port(name="net", tcp="host:502")


@pytest.fixture
def meter():
    profile = profile_file.load(builtin("acrel-adl400"))
    entry = Device(id="M-1", profile=profile.id, port="bus", address="1", mode="2400-8E1")
    return entry, driver(entry, profile)


def talks(meter, port=SERIAL, latency=None):
    entry, made = meter
    learned = Learned({0: made})
    if latency is not None:
        learned.memories[0].latencies.extend([latency] * 50)
    return Talks(port, [(0, entry, made)], learned)


def put(held, back_off=None, suspect=False):
    return held.talk(0, 0, b"", suspect, back_off)


def test_a_meter_that_is_set_aside_is_waited_for_as_long_as_it_ever_took(meter):
    link = meter[1].profile.link
    assert put(talks(meter, latency=40)).timeout_ms == link.timeout_ms
    assert put(talks(meter), back_off=1).timeout_ms == link.timeout_ms
    assert [put(talks(meter, latency=ms), back_off=1).timeout_ms for ms in (40, 100, 500)] == [
        200,
        300,
        link.timeout_ms,
    ]


def test_a_shorter_wait_means_a_longer_quarantine(meter):
    link = meter[1].profile.link
    for held in (put(talks(meter, latency=40)), put(talks(meter, latency=40), back_off=1)):
        assert held.timeout_ms + held.late_ms == 2 * link.timeout_ms


def test_modbus_tcp_has_no_line_no_rest_and_no_quarantine(meter):
    held = put(talks(meter, NET), suspect=True)
    assert (held.mode, held.guard_ms, held.late_ms, held.beyond_ms, held.again) == ("", 0, 0, 0, True)
    assert put(talks(meter, NET), back_off=1).again is False


def test_a_devices_own_mode_goes_before_its_ports(meter):
    assert put(talks(meter)).mode == "2400-8E1"
