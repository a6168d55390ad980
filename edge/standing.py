"""What a running agent says of itself, as JSON: for status, metrics, doctor and the support bundle."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from edge.blocks import Blocks
from edge.clock import Clock
from edge.config import EdgeConfig
from edge.delivery import Delivery
from edge.disk import Disk
from edge.drifting import drifted
from edge.ledger import Ledger
from edge.outbox import Outbox
from edge.ports import Owner, told
from edge.recorder import Recorder
from edge.software import installed
from protocols.errors import ConfigError
from protocols.record.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of an agent that has its store."""

    config: EdgeConfig
    clock: Clock
    outbox: Outbox
    recorder: Recorder
    blocks: Blocks
    ledger: Ledger
    ports: Sequence[Owner]
    delivery: Delivery
    started: int
    disk: Disk

    async def status(self) -> dict[str, object]:
        """Everything that is known now."""
        chain = await self.recorder.call(self.outbox.chain)
        counts = await self.recorder.call(self.outbox.counts)
        site = self.config.installation.site
        number, digest = self.config.in_force.name
        version, software = installed()
        return {
            "site": site.site.id,
            "gateway": self.config.gateway.hex(),
            "state": "disk-full" if self.recorder.full else "running",
            "why": self.disk.why,
            "since": self.disk.since,
            "now": self.clock.utc_ms(),
            "up_s": (self.clock.mono_ms() - self.started) // 1000,
            "boot": chain.boot,
            "epoch": chain.link.epoch,
            "next_seq": chain.link.seq,
            "configuration": {"number": number, "sha256": digest.hex(), "flaws": list(self.config.flaws)},
            "software": {"version": version, "sha256": software.hex()},
            "clock": self._clock(),
            "outbox": {name: getattr(counts, name) for name in counts.__slots__} | self._stopped(),
            "store": await self.recorder.call(self.disk.status),
            "disk_free_bytes": shutil.disk_usage(self.config.state).free,
            "blocks_sealed": self.blocks.moves[0],
            "exchanges": self.ledger.committed,
            "ports": [told(port, self.clock, self.started) for port in self.ports],
            "devices": [
                {**self.ledger.status(number), "back_off_ms": self._back_off(number)}
                for number in range(len(site.device))
            ],
            "sync": self._sync(),
        }

    def _stopped(self) -> dict[str, object]:
        """No days are left where readings have stopped, whatever room the reserve has given back."""
        return {"days_left": 0.0} if self.recorder.full else {}

    def _clock(self) -> dict[str, object]:
        belief, off = self.blocks.belief, self.blocks.off_by()
        clock = belief.state(self.clock.mono_ms())
        return {
            "source": clock.source,
            "state": clock.state,
            "error_ms": clock.error_ms,
            "last_sync": clock.last_sync_s,
            "offset_ms": off,
            "doubted": belief.doubt_ms != 0,
            "alarm": drifted(off, clock),
        }

    def _back_off(self, device: int) -> int:
        until = next((at for p in self.ports if (at := p.schedule.back_off_until(device)) is not None), 0)
        return max(0, until - self.clock.mono_ms())

    def _sync(self) -> dict[str, object]:
        standing, collector = self.delivery.standing, self.delivery.collector
        if self.delivery.no_way:
            return {"state": "no way", "error": self.delivery.no_way, "code": ConfigError.code}
        if standing is None or collector is None:
            return {"state": "not enrolled"}
        return {
            "url": collector.url,
            "state": standing.state,
            "error": standing.error,
            "code": standing.code,
            "batches": standing.batches,
            "blocks": standing.blocks,
            "ahead": standing.ahead,
            "bytes_per_s": None if standing.rate is None else round(standing.rate),
            "results": dict(standing.results),
            "receipt": _receipt(standing.receipt),
            "settled": _receipt(standing.settled),
        }


def _receipt(receipt: Receipt | None) -> dict[str, object] | None:
    if receipt is None:
        return None
    return {"epoch": receipt.epoch, "next_seq": receipt.next_seq, "level": receipt.level, "at": receipt.at}
