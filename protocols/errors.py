"""The tree of errors. Each class has a stable code (its texts are in messages.toml), an exit code and a remedy.

TanmeterError
├── ProtocolError        what came over a wire breaks a rule; carries the fault code of the signed record
│   ├── Silent           BUS-101  no byte came
│   ├── Damaged          BUS-102  bytes came, no valid frame among them
│   ├── Refused          BUS-103  the meter answered that it will not (Modbus exception, DL/T 645 error word)
│   ├── Mismatched       BUS-104  a valid frame, but not the answer to what was asked
│   ├── PortGone         BUS-106  the port or the connection is not there
│   ├── AdapterMoved     BUS-111  the serial adapter is back under another name, or another one has its name
│   ├── HalfOpen         BUS-112  the other side had forgotten the TCP connection
│   ├── OneClient        BUS-113  the other side takes no further connection
│   ├── SecondMaster     BUS-114  somebody else asks on the line
│   ├── SameAddress      BUS-115  two meters answer to one address
│   ├── OtherFraming     BUS-116  RTU where Modbus TCP was expected, or the other way round
│   ├── WrongMeter       MTR-202  the meter's number is not that of the signed entry
│   └── Impossible       MTR-201  a valid answer whose value cannot be
├── RecordError          REC-600  a signed record breaks a rule of RECORD.md
│   ├── EncodingError    REC-601  not the one way to write it
│   ├── SignatureError   SIG-601  the signature is not of this key over these bytes
│   ├── ChainError       SIG-602  a link, a leaf or a count does not fit
│   └── ConflictError    SIG-603  two different records claim one number
├── ConfigError          CFG-101  a site file or profile is not as it should be: path, found, expected
│   └── OverloadError    CFG-103  a port is asked for more of its time than it may be
├── StoreError           STO-101  the disk is full or failing
│   ├── BusyError        STO-102  another process holds the store
│   ├── DamagedError     STO-103  the store is not what was written
│   ├── ForeignError     STO-104  the store is another's, or of another edition of the software
│   ├── SpoiltError      STO-105  the collector's store is not what was written
│   │   └── RottenError  STO-106  a row of it is not what was kept; the file around it can be read
│   └── CopyError        STO-107  a second copy is not what was written
├── ClockError           CLK-401  UTC is not known, or a clock is not believed
│   └── DriftError       CLK-402  the clock is more than a second off, or may be
├── UnreachableError     SYN-501  the collector cannot be reached
│   ├── NotRunningError  SYN-502  no agent runs on this box
│   ├── TrustError       SYN-503  TLS: a certificate does not hold, ours or theirs
│   └── AdmissionError   SYN-504  the broker does not let this box in, or not to its topics
├── EnrolmentError       ENR-401  a gateway, key or code is unknown, used up, expired or revoked
├── FactorError          FAC-701  no emission factor, or more than one, fits
│   └── ChangedError     FAC-702  a built-in file is another than the one signed under its name
├── UnitError            UNI-701  units that do not belong together: another substance, another state, another kind
├── MethodError          MET-701  a method is unknown, not in force, or not as it should be
├── AccountError         ACC-801  an account cannot be drawn up from what is held
│   ├── UnknownNameError ACC-802  no statement, version or site of that name
│   ├── ActivityError    ACC-803  activity data that break a rule: missing, doubled, out of bounds, without proof
│   ├── LockedError      ACC-804  a locked account refuses what would change it
│   ├── ProofError       ACC-805  a certificate is used a second time
│   ├── PeriodError      ACC-806  a text that is no period
│   ├── SharedMeterError ACC-807  one meter is counted by two subjects
│   └── OvertakenError   ACC-808  somebody else has decided first
├── ReportError          RPT-801  a report cannot be printed here
└── EvidenceError        EVI-901  an evidence pack does not verify
"""

from collections.abc import Sequence
from typing import ClassVar


class TanmeterError(Exception):
    """Base of every error a user may see. The message says what came and what was expected."""

    code: ClassVar[str] = "GEN-001"
    exit_code: ClassVar[int] = 1


class ProtocolError(TanmeterError):
    """Bytes from a wire that break a protocol's rule. ``fault`` is the fault code of RECORD.md.

    ``at``: the byte, from 0, where it was noticed; ``found`` there, ``expected``; ``cause``: the message id of what is
    likely behind it. None where it cannot be told.
    """

    code: ClassVar[str] = "BUS-100"
    exit_code: ClassVar[int] = 3
    fault: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        at: int | None = None,
        found: str | None = None,
        expected: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.at, self.found, self.expected, self.cause = at, found, expected, cause


class Silent(ProtocolError):
    """No byte came within the time limit."""

    code = "BUS-101"
    fault = 1


class Damaged(ProtocolError):
    """Bytes came, but no frame with a right checksum."""

    code = "BUS-102"


class Refused(ProtocolError):
    """The meter is alive and says no. ``reason`` is the exception code or error word as sent."""

    code = "BUS-103"
    fault = 3

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.reason = reason


class Mismatched(ProtocolError):
    """A valid frame that does not answer the request: other address, function, identifier, length or transaction."""

    code = "BUS-104"


class PortGone(ProtocolError):
    """The serial port or the TCP connection is not there."""

    code = "BUS-106"
    fault = 7


class AdapterMoved(ProtocolError):
    """A serial adapter that came back under another name, or whose name another adapter has."""

    code = "BUS-111"


class HalfOpen(ProtocolError):
    """A TCP connection that the other side had forgotten: silent until it was made anew."""

    code = "BUS-112"


class OneClient(ProtocolError):
    """The other side ends connections at once, or takes none: another client has the one it bears."""

    code = "BUS-113"


class SecondMaster(ProtocolError):
    """Requests were heard on the line that are not ours, or answers to them."""

    code = "BUS-114"


class SameAddress(ProtocolError):
    """Two meters answer to one address: two answers to a question, or broken ones from this address alone."""

    code = "BUS-115"


class OtherFraming(Mismatched):
    """A sound answer in the other framing: RTU on a port of Modbus TCP, or Modbus TCP on a port of RTU."""

    code = "BUS-116"


class WrongMeter(ProtocolError):
    """The number that the meter gives is not the serial number of its signed entry."""

    code = "MTR-202"
    fault = 4


class Impossible(ProtocolError):
    """A valid answer whose content cannot be a value."""

    code = "MTR-201"
    fault = 4


class RecordError(TanmeterError):
    """A signed record breaks a rule of RECORD.md."""

    code: ClassVar[str] = "REC-600"
    exit_code: ClassVar[int] = 4


class EncodingError(RecordError):
    """Bytes that are not the one permitted way to write what they say."""

    code = "REC-601"


class SignatureError(RecordError):
    """Not signed by this key over these bytes."""

    code = "SIG-601"


class ChainError(RecordError):
    """A predecessor, a leaf, a range or a count does not fit."""

    code = "SIG-602"


class ConflictError(RecordError):
    """Two different records claim the same gateway, epoch and seq."""

    code = "SIG-603"


class ConfigError(TanmeterError):
    """A site file, profile or option is wrong at ``path``: what was found, what was expected."""

    code: ClassVar[str] = "CFG-101"
    exit_code: ClassVar[int] = 6

    def __init__(self, path: str, found: str, expected: str) -> None:
        super().__init__(f"{path}: found {found}, expected {expected}")
        self.path, self.found, self.expected = path, found, expected


class OverloadError(ConfigError):
    """The devices of a port are asked for more of its time than it may be."""

    code = "CFG-103"


class StoreError(TanmeterError):
    """The disk is full or failing."""

    code: ClassVar[str] = "STO-101"


class BusyError(StoreError):
    """Another process holds the store."""

    code = "STO-102"


class DamagedError(StoreError):
    """The store cannot be read, or holds something else than was written."""

    code = "STO-103"


class ForeignError(StoreError):
    """The store is another box's or another program's, or of a schema that this edition does not read."""

    code = "STO-104"


class SpoiltError(StoreError):
    """The collector's store cannot be read, or holds something else than was written."""

    code = "STO-105"


class RottenError(SpoiltError):
    """A stored block of the collector is not what its gateway signed; the file around it can be read."""

    code = "STO-106"


class CopyError(StoreError):
    """A second copy, or a block in it, is something else than was written; what stands before it can be taken."""

    code = "STO-107"


class ClockError(TanmeterError):
    """The box does not know the time well, or its clock has stepped and is not believed."""

    code: ClassVar[str] = "CLK-401"
    exit_code = 8


class DriftError(ClockError):
    """The box's clock is more than a second off, or nobody has told the time for so long that it may be."""

    code = "CLK-402"


class UnreachableError(TanmeterError):
    """The collector cannot be reached."""

    code: ClassVar[str] = "SYN-501"
    exit_code = 5


class NotRunningError(UnreachableError):
    """No agent runs on this box, or it does not answer."""

    code = "SYN-502"


class TrustError(UnreachableError):
    """TLS came to nothing: a certificate is missing, out of date or of another issuer, on this side or the other."""

    code = "SYN-503"

    @staticmethod
    def is_behind(reason: str | None) -> bool:
        """Whether TLS failed by a certificate, as OpenSSL names the reason: we refused theirs, or they say with an
        alert that they refuse ours. A link that broke, or somebody who speaks no TLS, is no matter of trust."""
        return any(word in (reason or "") for word in ("CERTIFICATE", "ALERT"))


class AdmissionError(UnreachableError):
    """The broker refuses this name and password, or the topics that this box or collector needs."""

    code = "SYN-504"


class StrangerError(UnreachableError):
    """Somebody else answers in the collector's place: a captive portal, a proxy."""

    code = "SYN-505"


class AbsentError(UnreachableError):
    """The way there is open and the machine answers, but nobody listens at that port."""

    code = "SYN-506"

    @staticmethod
    def is_behind(error: BaseException | None) -> bool:
        """Whether every attempt that this failure came of was refused."""
        if isinstance(error, BaseExceptionGroup):
            return all(AbsentError.is_behind(one) for one in error.exceptions)
        if error is None or isinstance(error, ConnectionRefusedError):
            return error is not None
        return AbsentError.is_behind(error.__cause__ or error.__context__)


class EnrolmentError(TanmeterError):
    """A gateway, key or code is unknown, used up, expired or revoked."""

    code = "ENR-401"
    exit_code = 4


class FactorError(TanmeterError):
    """No emission factor fits, or more than one does. An unknown factor is never zero."""

    code = "FAC-701"
    exit_code = 8


class ChangedError(FactorError):
    """A built-in file has other contents than the collector signed under its name, and nobody has adopted them."""

    code = "FAC-702"


class UnitError(TanmeterError):
    """Units that do not belong together: another substance, another state of a gas, another kind of quantity."""

    code = "UNI-701"
    exit_code = 8


class MethodError(TanmeterError):
    """A method is unknown, not in force for the period, or not as it should be."""

    code = "MET-701"
    exit_code = 8


class AccountError(TanmeterError):
    """An account cannot be drawn up from what is held."""

    code: ClassVar[str] = "ACC-801"
    exit_code: ClassVar[int] = 8


class UnknownNameError(AccountError):
    """No statement, version or site of that name is held. ``what`` it should be; ``near``: names that there are."""

    code = "ACC-802"
    exit_code = 2

    def __init__(self, what: str, name: str, expected: str, near: Sequence[str] = ()) -> None:
        super().__init__(f"{what}: found {name!r}, expected {expected}")
        self.what, self.name, self.near = what, name, tuple(near)


class ActivityError(AccountError):
    """Activity data that break a rule: missing, given twice, out of bounds, without proof."""

    code = "ACC-803"


class LockedError(AccountError):
    """A locked account refuses what would change it, and what is not yet confirmed."""

    code = "ACC-804"


class ReportError(TanmeterError):
    """A report cannot be printed here: a font or a library is missing, or an account is not what it asks for."""

    code = "RPT-801"
    exit_code = 8


class ProofError(AccountError):
    """A certificate of green power, hydrogen or a reduction is used a second time in the city."""

    code = "ACC-805"


class PeriodError(AccountError):
    """A text that is no day, month, year or span of days."""

    code = "ACC-806"
    exit_code = 2

    def __init__(self, text: str) -> None:
        expected = "a day 2026-11-22, a month 2026-11, a year 2026 or a span 2026-12-15--2027-01-15"
        super().__init__(f"period: found {text!r}, expected {expected}")
        self.text = text


class SharedMeterError(AccountError):
    """One meter is a main meter of two subjects on the same day: the city would count it twice."""

    code = "ACC-807"


class OvertakenError(AccountError):
    """Somebody else has written this version, or what it was decided on, since it was looked at."""

    code = "ACC-808"


class EvidenceError(TanmeterError):
    """An evidence pack does not verify: ``file`` is where in the pack, ``rule`` the check that it breaks."""

    code = "EVI-901"
    exit_code = 4

    def __init__(self, file: str, rule: str, detail: str) -> None:
        super().__init__(f"{file}: {rule}: {detail}")
        self.file, self.rule, self.detail = file, rule, detail
