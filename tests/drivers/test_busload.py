"""What a port is asked for: reckoned from the signed files, refused above 70 %, with the period that would fit."""

from collections.abc import Iterator

import pytest

from drivers import busload, profile_file, site
from drivers.builtin import builtin, builtin_ids
from drivers.driver import driver
from drivers.installation import Installation, install
from drivers.site import Device, Port
from protocols.errors import OverloadError

ADDRESSES = {"cjt188": "00000000000007"}
HEAD = 'schema = 1\n[site]\nid = "S"\nname = "s"\n'


def port(name: str = "p", extra: str = 'device = "/dev/x"\nmode = "9600-8E1"') -> str:
    return f'[[port]]\nname = "{name}"\n{extra}\n'


def meter(number: int, extra: str = "", profile: str = "acrel-adl400", on: str = "p") -> str:
    head = f'[[device]]\nid = "M-{number}"\nprofile = "{profile}"\nport = "{on}"\naddress = "{number}"\n'
    return head + extra + "\n"


def site_of(*parts: str) -> Installation:
    text = (HEAD + "".join(parts)).encode()
    named = {device.profile for device in site.load(text).device}
    return install(text, {name: builtin(name) for name in named})


def shares(*parts: str) -> tuple[busload.PortLoad, ...]:
    held = site_of(*parts)
    return busload.loads(held.site, held.drivers)


def admit(held: Installation) -> None:
    busload.admit(held.site, held.drivers, held.profiles, "site.toml")


def test_the_load_is_the_sum_of_its_questions() -> None:
    """Four voltages at 9600 8E1: ask 8, answer 5 + 2n characters, 3.5 before the answer, 20 ms rest, 50 ms delay."""
    one = meter(1, 'points = ["voltage_a"]\nperiod = "1s"')
    [load] = shares(port(), one)
    [share] = load.shares
    assert (share.device, share.period_ms, share.requests) == (0, 1000, 1)
    assert share.bus_ms == pytest.approx((8 + 5 + 2 + 3.5) * 11 / 9.6 + 50 + 20, abs=1e-6)
    assert load.share == pytest.approx(share.bus_ms / 1000)


def test_a_device_may_have_a_line_of_its_own() -> None:
    [[fast], [slow]] = [
        load.shares
        for extra in ("", 'mode = "1200-8N1"\n')
        for load in shares(port(), meter(1, extra + 'points = ["voltage_a"]'))
    ]
    assert slow.bus_ms > fast.bus_ms
    assert slow.bus_ms == pytest.approx((8 + 5 + 2) * 10 / 1.2 + 3.5 * 10 / 1.2 * 2 + 50, abs=1e-6)


def test_what_was_measured_here_counts() -> None:
    [[share]] = [load.shares for load in shares(port(), meter(1, 'turnaround_ms = 7\npoints = ["voltage_a"]'))]
    assert share.bus_ms == pytest.approx((8 + 5 + 2 + 3.5) * 11 / 9.6 + 7 + 20, abs=1e-6)


def test_dl_t_645_counts_both_frames() -> None:
    points = 'points = ["voltage_a", "voltage_b", "voltage_c"]'
    [load] = shares(port(extra='device = "/dev/x"\nmode = "2400-8E1"'), meter(1, points, "dlt645-2007-three-phase"))
    [share] = load.shares
    assert share.requests == 1
    assert share.bus_ms == pytest.approx((4 + 16 + 4 + 16 + 6) * 11 / 2.4 + 100 + 30, abs=1e-6)


def test_every_model_that_comes_with_us_has_a_load() -> None:
    """Also where an answer takes several questions: freezes, M-Bus telegrams."""
    for name in builtin_ids():
        profile = profile_file.load(builtin(name), name)
        if profile.protocol == "hj212":
            continue
        held = driver(Device(id="M", profile=name, port="p", address=ADDRESSES.get(profile.protocol, "7")), profile)
        for query in held.queries():
            took = busload.query_ms(held, query, Port(name="p", device="/dev/x"), "9600-8E1")
            least = held.profile.link.turnaround_ms + len(query.request) * 11 / 9.6
            assert least < took < 5000, (name, query, took)


def test_an_m_bus_meter_that_minds_the_frame_count_bit_is_asked_twice() -> None:
    [once], [twice] = [
        load.shares
        for extra in ('options = { frame_count_bit = "ignored" }\n', "")
        for load in shares(port(extra='device = "/dev/x"\nmode = "2400-8E1"'), meter(1, extra, "mbus-water"))
    ]
    assert twice.bus_ms == pytest.approx(2 * once.bus_ms)


def test_modbus_tcp_has_no_characters_and_other_ports_do_not_add() -> None:
    net = port("net", 'tcp = "h:502"')
    first, second = shares(port(), net, meter(1), meter(2, 'points = ["voltage_a"]', on="net"))
    assert second.share == pytest.approx(50 / second.shares[0].period_ms)
    assert first.share > second.share


def crowd(count: int, period: str) -> Iterator[str]:
    return (meter(number, f'period = "{period}"') for number in range(1, count + 1))


def test_too_much_is_refused_with_the_period_that_fits() -> None:
    admit(site_of(port(), *crowd(2, "1s")))
    crowded = site_of(port(), *crowd(30, "1s"))
    with pytest.raises(OverloadError) as error:
        admit(crowded)
    assert "port[0] 'p'" in error.value.path and "%" in error.value.found
    assert 'period = "15s"' in error.value.expected, error.value.expected
    admit(site_of(port(), *crowd(30, "15s")))
    with pytest.raises(OverloadError):
        admit(site_of(port(), *crowd(30, "10s")))


def test_a_slower_device_is_not_proposed_to_be_asked_faster() -> None:
    held = site_of(port(), meter(99, 'period = "1h"'), *crowd(30, "1s"))
    found = busload.fitting(held.site, held.site.port[0], held.profiles)
    assert found is not None and found[0] == "15s"


def test_points_with_periods_of_their_own_are_named_as_the_cause() -> None:
    """Nothing the site file can say makes them slower."""
    source = builtin("acrel-adl400").replace(b'kind = "gauge"', b'kind = "gauge", period = "1s"')
    text = (HEAD + port() + "".join(crowd(30, "1h"))).encode()
    held = install(text, {"acrel-adl400": source})
    assert busload.fitting(held.site, held.site.port[0], held.profiles) is None
    with pytest.raises(OverloadError, match="fewer points with periods of their own"):
        admit(held)
