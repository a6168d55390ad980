"""What may be said to a data logger: that its packet is on record, and a question for history. Nothing else.

HJ 212-2017, 6.3 and annex C: 9014 answers a packet; 2031, 2051 and 2061 with BeginTime and EndTime ask for days,
minutes and hours, which the logger answers with 9011 (it will or will not), the data, and 9012 (how it went). Nothing
here sets, calibrates, starts, stops or restarts anything.
"""

import re
from dataclasses import dataclass

from protocols.errors import Damaged
from protocols.hj212 import ACKNOWLEDGE, PARTED, V2017, Packet, frame

HISTORY = ("2031", "2051", "2061")
"""The commands that can be asked for a past time: days, minutes, hours."""
SYSTEM = "91"
WORD = re.compile(r"[^;,&\x00-\x1f\x7f]*")
"""What may stand for a system code, password or number: nothing that would end it and begin something else."""
DATA_ANSWER, REQUEST_ANSWER, RESULT = "9014", "9011", "9012"


@dataclass(frozen=True, slots=True)
class Asker:
    """Whom a request goes to, in the words the logger itself uses: its system code, password and number."""

    st: str
    password: str
    mn: str
    version: int = V2017

    @classmethod
    def of(cls, packet: Packet) -> "Asker":
        """As this packet of the logger says."""
        return cls(packet.head("ST"), packet.head("PW"), packet.mn, packet.version)

    @property
    def plain(self) -> bool:
        """Whether its words can be said without saying anything else."""
        return all(WORD.fullmatch(word) for word in (self.st, self.password, self.mn))


def acknowledgement(packet: Packet) -> bytes | None:
    """9014 for a packet that wants it: same number and edition, no content. None for one without that wish, or QN, and
    where its own words cannot be repeated as they are.
    """
    asker = Asker.of(packet)
    if not packet.wants_answer or not packet.qn or not (asker.plain and WORD.fullmatch(packet.qn)):
        return None
    flag = packet.flag & ~(ACKNOWLEDGE | PARTED)
    return _frame(f"QN={packet.qn};ST={SYSTEM};CN={DATA_ANSWER}", asker, flag)


def history(asker: Asker, cn: str, qn: str, begin: str, end: str) -> bytes:
    """Ask for what lies between two times (14 digits); ``qn``: 17 digits, by which the answers are known.

    Damaged for any other command, and for words that would smuggle one in: this can ask for history and nothing else.
    """
    if not asker.plain:
        raise Damaged(
            f"{asker.st!r}, {asker.password!r}, {asker.mn!r}, expected words without ; , & and control characters"
        )
    if cn not in HISTORY:
        raise Damaged(f"command {cn}, expected a question for history: {', '.join(HISTORY)}")
    for text, digits in ((qn, 17), (begin, 14), (end, 14)):
        if len(text) != digits or not (text.isascii() and text.isdigit()):
            raise Damaged(f"time {text!r}, expected {digits} digits")
    flag = asker.version << 2 | ACKNOWLEDGE
    return _frame(f"QN={qn};ST={asker.st};CN={cn}", asker, flag, f"BeginTime={begin},EndTime={end}")


def _frame(head: str, asker: Asker, flag: int, content: str = "") -> bytes:
    return frame(f"{head};PW={asker.password};MN={asker.mn};Flag={flag};CP=&&{content}&&")
