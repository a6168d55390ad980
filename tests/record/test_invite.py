"""The one-time code: typed badly, still understood; typed wrongly, noticed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EnrolmentError
from protocols.record import invite
from protocols.record.invite import ALPHABET, Invite

digits = st.text(ALPHABET, min_size=14, max_size=14)
invites = st.builds(lambda text, key: Invite(text[:4], text[4:], key), digits, st.binary(min_size=5, max_size=5))


def test_the_form_of_a_code() -> None:
    code = Invite("ABCD", "EFGH012345", bytes.fromhex("0000000001")).format()
    assert code == "ABCD-EFGH-0123-4500-0000-01" + code[-1]
    assert invite.parse(code) == Invite("ABCD", "EFGH012345", bytes.fromhex("0000000001"))


@given(invites)
def test_a_code_is_read_as_it_was_given(given_: Invite) -> None:
    assert invite.parse(given_.format()) == given_


@given(invites, st.data())
def test_a_code_is_read_however_it_is_typed(given_: Invite, data: st.DataObject) -> None:
    code = given_.format()
    typed = code.lower() if data.draw(st.booleans()) else code
    typed = typed.replace("0", data.draw(st.sampled_from("0oO"))).replace("1", data.draw(st.sampled_from("1iIlL")))
    typed = typed.replace("-", data.draw(st.sampled_from(["-", "", " ", " - "])))
    assert invite.parse(f"  {typed}\n") == given_


@given(invites, st.data())
def test_one_wrong_character_is_noticed(given_: Invite, data: st.DataObject) -> None:
    typed = list(given_.format().replace("-", ""))
    place = data.draw(st.integers(0, len(typed) - 1))
    typed[place] = data.draw(st.sampled_from(sorted(set(ALPHABET) - {typed[place]})))
    with pytest.raises(EnrolmentError, match="mistyped"):
        invite.parse("".join(typed))


@given(invites, st.data())
def test_two_characters_exchanged_are_noticed(given_: Invite, data: st.DataObject) -> None:
    typed = list(given_.format().replace("-", ""))
    one, two = data.draw(st.tuples(st.integers(0, len(typed) - 1), st.integers(0, len(typed) - 1)))
    typed[one], typed[two] = typed[two], typed[one]
    if typed[one] == typed[two]:
        assert invite.parse("".join(typed)) == given_
    else:
        with pytest.raises(EnrolmentError, match="mistyped"):
            invite.parse("".join(typed))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "0 characters"),
        ("ABCD-EFGH", "8 characters"),
        ("0" * 24, "24 characters"),
        ("U" + "0" * 22, "U"),
        ("零" * 23, "零"),
    ],
)
def test_what_cannot_be_a_code_says_why(typed: str, said: str) -> None:
    with pytest.raises(EnrolmentError, match=said):
        invite.parse(typed)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(typed: str) -> None:
    try:
        found = invite.parse(typed)
    except EnrolmentError:
        return
    assert invite.parse(found.format()) == found


def test_a_new_invite_names_the_collector() -> None:
    made = invite.make(bytes(range(9)), b"spki")
    assert made.fingerprint == hashlib.sha256(b"spki").digest()[:5] == invite.fingerprint(b"spki")
    assert invite.parse(made.format()) == made
    assert made != invite.make(bytes(9), b"spki")
    assert invite.make(b"\xff" * 9, b"").secret == "Z" * 10
