"""Whether an entry of the journal is what was kept, as far as it tells by itself: by its digest, by who signed it, and
by what it says twice. That a word in a brief or a name in a mark has become another one only a copy can tell.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from cloud import accounts, bindings
from cloud.accounting import activity_file, bundle, contents
from cloud.accounting.inventory import account_id
from cloud.packed import unpack
from cloud.receipts import journal_id
from cloud.rot import UNREADABLE
from cloud.rows import JournalRow
from protocols.errors import RottenError, TanmeterError
from protocols.record import cbor, cose
from protocols.record.cose import PublicKey
from protocols.record.former import claimed_gateway
from protocols.record.receipt import claimed_receipt


def fault(row: JournalRow) -> str:
    """Why an entry is not what was kept; "" where it is."""
    try:
        if row.kind not in CHECKS:
            return f"found an entry of the kind {row.kind!r}, expected one of {', '.join(CHECKS)}"
        CHECKS[row.kind](row)
    except (TanmeterError, *UNREADABLE) as error:
        return str(error) or type(error).__name__
    return ""


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise RottenError(f"found {what} {found}, expected {expected}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _detail(row: JournalRow) -> Mapping[str, Any]:
    return dict(json.loads(row.detail))


def _named(row: JournalRow, digest: str) -> None:
    """An entry that is named by the digest of its content."""
    _same("content", digest, row.digest)
    _same("the name", row.id, row.digest)


def _key(row: JournalRow) -> PublicKey:
    """The key that is kept beside what it has signed."""
    return PublicKey.from_pem(_detail(row)["key"].encode())


def _file(row: JournalRow) -> None:
    _named(row, _sha256(unpack(row.body)))


def _check(row: JournalRow) -> None:
    _same("content", _sha256(unpack(row.body)), row.digest)
    _same("the name", row.id, f"{row.subject}-{row.period}")


def _subject(row: JournalRow) -> None:
    _same("the subject", row.subject, row.id)
    if (brief := bindings.of_brief(row.detail)) is not None:
        _same("a brief of", brief.id, row.id)


def _signer(row: JournalRow) -> None:
    pem = unpack(row.body)
    _same("content", _sha256(pem + row.by.encode() + row.detail.encode()), row.digest)
    _same("the name", row.id, PublicKey.from_pem(pem).kid.hex())


def _activity(row: JournalRow) -> None:
    body, detail = unpack(row.body), _detail(row)
    signed = bool(detail["kid"])
    source = cose.unverified(body) if signed else body
    file = activity_file.read(row.id, source)
    _named(row, file.sha256)
    _same("the subject", row.subject, file.subject)
    _same("a file that replaces", detail["replaces"], file.replaces)
    _same("the grade", detail["grade"], "imported" if signed else "declared")
    _same("the number of entries", detail.get("count", len(file.activity)), len(file.activity))
    if signed:
        _same("the key", detail["kid"], cose.kid_of(body).hex())


def _account(row: JournalRow) -> None:
    version, detail = accounts.opened(row), _detail(row)
    content = version.content
    _same("the name", f"{row.id}@{row.version}", f"{account_id(content.subject, content.period.id)}@{version.version}")
    _same("the subject", row.subject, content.subject)
    _same("the period", row.period, content.period.id)
    _same("the total", Decimal(detail["tco2e"]), content.totals.total)
    _same("the record up to", detail.get("as_of", version.as_of), version.as_of)
    if not all(isinstance(use, str) for use in detail["proofs"].values()):
        raise RottenError("found proofs that cannot be read, expected what each is used for")


def _mark(row: JournalRow) -> None:
    detail = accounts.decision(row)
    _same("the name", row.by, detail["by"][-1])
    if detail["closure"] not in ("complete", "exceptions", "partial"):
        raise RottenError(f"found the closure {detail['closure']!r}, expected complete, exceptions or partial")
    _same("the account", row.id.partition("@")[0], account_id(row.subject, row.period))


def _warning(row: JournalRow) -> None:
    _same("content", _sha256(row.detail.encode()), row.digest)
    unpack(row.body)


def _bundle(row: JournalRow) -> None:
    found = bundle.open_bundle(unpack(row.body), _key(row))
    _named(row, found.digest)
    _same("the publisher", row.by, found.publisher)
    _same("the files", _detail(row)["files"], list(found.files))


def _contents(row: JournalRow) -> None:
    key = _key(row)
    found = contents.open_contents(unpack(row.body), key)
    _named(row, found.digest)
    _same("the key", row.by, key.kid.hex())
    _same("the release", _detail(row)["release"], found.release)


def _former(row: JournalRow) -> None:
    word = unpack(row.body)
    _same("the gateway", row.by, claimed_gateway(word).hex())
    spki = cbor.decode(cose.unverified(word))[3]
    _same("content", _sha256(spki), row.digest)
    _same("the name", row.id, journal_id(bytes.fromhex(row.by), hashlib.sha256(spki).digest()[:8]))


def _receipt(row: JournalRow) -> None:
    envelope = unpack(row.body)
    _same("content", _sha256(envelope), row.digest)
    receipt, detail = claimed_receipt(envelope), _detail(row)
    _same("the place", (detail["epoch"], detail["next_seq"]), (receipt.epoch, receipt.next_seq))
    _same("the name", row.id, journal_id(receipt.gateway, bytes.fromhex(row.digest)))
    _same("the key", row.by, cose.kid_of(envelope).hex())


CHECKS: Mapping[str, Callable[[JournalRow], None]] = {
    "file": _file,
    "subject": _subject,
    "signer": _signer,
    "activity": _activity,
    "account": _account,
    "mark": _mark,
    "check": _check,
    "warning": _warning,
    "bundle": _bundle,
    "contents": _contents,
    "former": _former,
    "receipt": _receipt,
}
