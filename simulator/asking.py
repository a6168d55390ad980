"""What the demo asks a collector, over the same API as anybody."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import zstandard

from protocols.record import answer, transport
from protocols.record.answer import Verdict
from protocols.record.block import Sealed

MOST = 10_000
TIMEOUT_S = 20


class Asking:
    """A collector's API at ``url``. httpx.HTTPError when it does not answer as it should."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    async def get(self, path: str, **parameters: str | int) -> Any:
        """A JSON answer."""
        reply = await self._client.get(path, params=parameters)
        return reply.raise_for_status().json()

    async def ready(self) -> bool:
        """Whether anybody answers."""
        try:
            return (await self._client.get("/v1/health")).is_success
        except httpx.TransportError:
            return False

    async def gateway(self) -> dict[str, Any]:
        """The one gateway of the demo."""
        (found,) = (await self.get("/v1/gateways"))["data"]
        return dict(found)

    async def blocks(self, gateway: str) -> list[dict[str, Any]]:
        """Every block it holds of a gateway, in the order they came."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str | int] = {}
        while True:
            page = await self.get("/v1/blocks", gateway=gateway, limit=MOST, **cursor)
            found += page["data"]
            if not page["has_more"]:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def block(self, gateway: str, epoch: int, seq: int) -> dict[str, Any]:
        """One block, opened."""
        return dict(await self.get(f"/v1/blocks/{gateway}/{epoch}/{seq}"))

    async def sealed(self, gateway: str, epoch: int, seq: int) -> Sealed:
        """One block as it was signed."""
        reply = await self._client.get(f"/v1/blocks/{gateway}/{epoch}/{seq}", params={"format": "cbor"})
        return transport.unpack(zstandard.ZstdCompressor().compress(reply.raise_for_status().content))

    async def send(self, blocks: Sequence[Sealed]) -> tuple[Verdict, ...]:
        """What it says to these blocks."""
        batch = answer.encode_batch([transport.pack(block) for block in blocks])
        reply = await self._client.post("/v1/blocks", content=batch, headers={"content-type": answer.BATCH_TYPE})
        return answer.decode_answers(reply.content).verdicts

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


def instant(text: str) -> int:
    """UTC ms of an instant in an answer (RFC 3339)."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
