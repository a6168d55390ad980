"""Options of the hardware tests, the device they are about, and what they leave behind."""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import device_report
import device_simulated
import pytest
from device_at_hand import DeviceAtHand, Wanted

from drivers import builtin, profile_file
from protocols.errors import TanmeterError

HERE = Path(__file__).parent
OVER_SERIAL = ("acrel-adl400", "eastron-sdm630")
"""Models that the simulator also answers for on a serial line; the others over TCP only."""
SIMULATED_ADDRESS = "17"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is under test."""
    group = parser.getgroup("device under test")
    group.addoption(
        "--port", help="/dev/ttyUSB0, tcp:host:port (Modbus TCP) or rtu:host:port; without: simulated meters"
    )
    group.addoption("--profile", help="id of a profile, or a TOML file; without --port also: every Modbus profile")
    group.addoption("--address", default="1", help="of the device: a unit 1..247, a meter's number")
    group.addoption("--mode", default="", help="line settings like 9600-8E1; else the first of the profile")
    group.addoption("--reading", action="append", default=[], help="what the display shows: energy_import=1234.5")
    group.addoption("--report", type=Path, help="folder of reports; with --port else hardware-tests/reports")
    group.addoption(
        "--vectors", type=Path, help="folder of captured exchanges; with --port else tests/vectors/captured"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run a device: the real one, or a simulated meter of each profile."""
    if "device" in metafunc.fixturenames:
        about_registers = metafunc.definition.get_closest_marker("modbus") is not None
        wanted = [one for one in _wanted(metafunc.config) if not about_registers or one.profile.protocol == "modbus"]
        metafunc.parametrize("device", wanted, indirect=True, ids=[one.title.replace(" ", "-") for one in wanted])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one device stay together: one port has one owner."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and isinstance(wanted := call.params.get("device"), Wanted):
            item.add_marker(pytest.mark.xdist_group(wanted.title))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceAtHand]:
    """The device under test; when its tests are over, the report and the vectors are written."""
    held = DeviceAtHand(request.param, tmp_path_factory.mktemp("port"))
    yield held
    held.close()
    now, real = datetime.now(UTC), not held.wanted.simulated
    report = request.config.getoption("--report") or (HERE / "reports" if real else None)
    vectors = request.config.getoption("--vectors") or (HERE.parent / "tests/vectors/captured" if real else None)
    if report is not None:
        device_report.write(held, report, now)
    if vectors is not None:
        device_report.append_vectors(held, vectors, now)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note each test's result with its device."""
    report = yield
    held = getattr(item, "funcargs", {}).get("device")
    if report.when == "call" and isinstance(held, DeviceAtHand):
        name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        why = str(call.excinfo.value).partition("\n")[0] if call.excinfo is not None else ""
        held.results[name] = device_report.PASSED if report.passed else f"{report.outcome}: {why}"
    return report


def _wanted(config: pytest.Config) -> Iterator[Wanted]:
    place, named = config.getoption("--port"), config.getoption("--profile")
    readings = dict(_reading(text) for text in config.getoption("--reading"))
    if place and not named:
        raise pytest.UsageError("--port needs --profile")
    for name in [named] if named else builtin.builtin_ids():
        try:
            source = Path(name).read_bytes() if name.endswith(".toml") else builtin.builtin(name)
            profile = profile_file.load(source, name)
        except (TanmeterError, OSError) as error:
            raise pytest.UsageError(f"--profile {name}: {error}") from error
        if profile.protocol == "hj212" and named:
            raise pytest.UsageError(f"{name}: a data logger speaks unasked; look at its record, not at its port")
        if unknown := readings.keys() - {point.id for point in profile.points}:
            raise pytest.UsageError(f"--reading {min(unknown)}: no point of {profile.id}: tanmeter profile show {name}")
        if place:
            yield Wanted(
                profile, source, config.getoption("--address"), place, config.getoption("--mode"), "", readings
            )
        elif profile.protocol == "modbus":
            yield Wanted(profile, source, SIMULATED_ADDRESS)
            if profile.id in OVER_SERIAL:
                yield Wanted(profile, source, SIMULATED_ADDRESS, how="serial")
        elif name in device_simulated.METERS:
            yield Wanted(profile, source, device_simulated.METERS[name].address, how="serial")
        elif named:
            raise pytest.UsageError(f"{name} speaks {profile.protocol} and has no simulated meter here: give a --port")


def _reading(text: str) -> tuple[str, Decimal]:
    point, _, value = text.partition("=")
    try:
        return point, Decimal(value)
    except InvalidOperation as error:
        raise pytest.UsageError(f"--reading {text}: expected point=number") from error
