"""What a check of the doctor finds: well or not, the code of the error, and so the one next action."""

from collections.abc import Callable
from dataclasses import dataclass

from protocols.errors import TanmeterError

DOUBTFUL = 8
"""The exit code of a finding that is no error: the data may not suffice."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``name`` is the message ``edge.doctor.NAME``, about ``subject``; ``code`` of the error, if any;
    ``state``: of the delivery, which the message ``edge.status.sync.STATE`` says."""

    name: str
    subject: str
    ok: bool
    found: str
    code: str = ""
    exit_code: int = 0
    state: str = ""


def tried(name: str, check: Callable[[], str], subject: str = "") -> Check:
    """What the check says, or the error it ends in."""
    try:
        return Check(name, subject, True, check())
    except TanmeterError as error:
        return bad(name, subject, error)


def bad(name: str, subject: str, error: TanmeterError) -> Check:
    """An error as a finding."""
    return Check(name, subject, False, str(error), error.code, error.exit_code)


def doubt(name: str, found: str, state: str = "") -> Check:
    """Something that is not well and has no code; its remedy is the message ``edge.doctor.NAME_remedy``."""
    return Check(name, "", False, found, "", DOUBTFUL, state)
