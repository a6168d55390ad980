"""USB adapters that come back under another name, swap names or are replaced: ptys and a made-up sysfs."""

import asyncio
import os
import tty

import pytest

from edge.adapters import Adapters
from edge.wire import SerialWire
from protocols.errors import PortGone


class Plugs:
    """A /dev and a /sys/class/tty in a folder, whose ttys are pseudo terminals."""

    def __init__(self, folder):
        self.dev, self.sys, self.devices = folder / "dev", folder / "sys", folder / "devices"
        self.masters = {}
        (self.dev / "serial" / "by-id").mkdir(parents=True)
        self.sys.mkdir()

    def plug(self, name, serial):
        """An adapter with this serial number (None: it has none) gets this name."""
        usb = self.devices / name / "1-1"
        interface = usb / "1-1:1.0" / name
        interface.mkdir(parents=True)
        (usb / "idVendor").write_text("0403\n")
        (usb / "idProduct").write_text("6001\n")
        if serial is not None:
            (usb / "serial").write_text(f"{serial}\n")
        (self.sys / name).mkdir()
        (self.sys / name / "device").symlink_to(interface)
        master, slave = os.openpty()
        tty.setraw(slave)
        self.masters[name] = master
        (self.dev / name).symlink_to(os.ttyname(slave))

    def unplug(self, name):
        (self.dev / name).unlink()
        (self.sys / name / "device").unlink()
        (self.sys / name).rmdir()
        self.devices.joinpath(name).rename(self.devices / f"{name}-{len(list(self.devices.iterdir()))}")

    def adapters(self):
        return Adapters(self.dev.parent / "adapters.json", self.dev, self.sys)

    def path(self, name):
        return str(self.dev / name)


@pytest.fixture
def plugs(tmp_path):
    made = Plugs(tmp_path)
    made.plug("ttyUSB0", "A1")
    made.plug("ttyUSB1", "B2")
    return made


def opened(plugs, adapters, name):
    """Open a port as the agent does; where, and the note."""
    found = adapters.find(plugs.path(name))
    adapters.opened(plugs.path(name), found.path)
    return found.path.rpartition("/")[2], found.note


def test_a_known_adapter_is_found_under_its_new_name_also_after_a_restart(plugs):
    assert opened(plugs, plugs.adapters(), "ttyUSB0") == ("ttyUSB0", "")
    plugs.unplug("ttyUSB0")
    plugs.plug("ttyUSB7", "A1")
    path, note = opened(plugs, plugs.adapters(), "ttyUSB0")
    assert path == "ttyUSB7" and "A1" in note and "ttyUSB7" in note


def test_swapped_names_open_the_adapters_that_belong_to_the_ports(plugs):
    adapters = plugs.adapters()
    for name in ("ttyUSB0", "ttyUSB1"):
        opened(plugs, adapters, name)
    for name in ("ttyUSB0", "ttyUSB1"):
        plugs.unplug(name)
    plugs.plug("ttyUSB0", "B2")
    plugs.plug("ttyUSB1", "A1")
    assert opened(plugs, adapters, "ttyUSB0")[0] == "ttyUSB1"
    assert opened(plugs, adapters, "ttyUSB1")[0] == "ttyUSB0"


def test_another_ports_adapter_is_not_opened_while_ours_is_away(plugs):
    adapters = plugs.adapters()
    for name in ("ttyUSB0", "ttyUSB1"):
        opened(plugs, adapters, name)
        plugs.unplug(name)
    plugs.plug("ttyUSB0", "B2")
    with pytest.raises(PortGone, match=r"which is that of .*ttyUSB1"):
        adapters.find(plugs.path("ttyUSB0"))
    assert opened(plugs, adapters, "ttyUSB1")[0] == "ttyUSB0"


def test_a_new_adapter_in_the_place_of_a_broken_one_is_taken_and_told(plugs):
    adapters = plugs.adapters()
    opened(plugs, adapters, "ttyUSB0")
    plugs.unplug("ttyUSB0")
    plugs.plug("ttyUSB0", "C3")
    path, note = opened(plugs, adapters, "ttyUSB0")
    assert path == "ttyUSB0" and "successor" in note
    assert opened(plugs, adapters, "ttyUSB0") == ("ttyUSB0", "")


def test_an_adapter_without_a_serial_number_is_its_path(plugs):
    plugs.plug("ttyUSB2", None)
    adapters = plugs.adapters()
    opened(plugs, adapters, "ttyUSB2")
    plugs.unplug("ttyUSB2")
    assert adapters.find(plugs.path("ttyUSB2")).path == plugs.path("ttyUSB2")


def test_a_stable_link_leads_to_its_adapter(plugs):
    link = plugs.dev / "serial" / "by-id" / "usb-A1"
    link.symlink_to("../../ttyUSB0")
    adapters = plugs.adapters()
    adapters.opened(str(link), str(link))
    link.unlink()
    plugs.unplug("ttyUSB0")
    plugs.plug("ttyUSB5", "A1")
    assert adapters.find(str(link)).path == plugs.path("ttyUSB5")


def test_a_serial_port_goes_on_where_its_adapter_came_back(plugs):
    async def work():
        wire = SerialWire(plugs.path("ttyUSB0"), plugs.adapters())
        assert await wire.open() == ""
        await wire.configure("9600-8N1")
        await wire.write(b"one")
        assert os.read(plugs.masters["ttyUSB0"], 9) == b"one"
        await wire.close()
        plugs.unplug("ttyUSB0")
        plugs.plug("ttyUSB3", "A1")
        assert "ttyUSB3" in await wire.open()
        await wire.configure("9600-8N1")
        os.write(plugs.masters["ttyUSB3"], b"two")
        assert await wire.read(1) == b"two"
        assert await wire.read(0) == b""
        await wire.close()

    asyncio.run(work())


def test_a_port_that_is_unplugged_while_open_is_gone(plugs):
    async def work():
        wire = SerialWire(plugs.path("ttyUSB0"), plugs.adapters())
        await wire.open()
        os.close(plugs.masters["ttyUSB0"])
        with pytest.raises(PortGone):
            for _ in range(3):
                await wire.read(0.1)
        await wire.close()

    asyncio.run(work())
