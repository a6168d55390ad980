"""The API that reads: shapes, cursors, problems; every figure against what the meters said."""

import base64
import io
import json
import re
import zipfile
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud import query
from cloud.evidence.verify import verify
from protocols import messages
from protocols.record import cbor

DAY_ID = "E-S-DEMO-2026-10-03"


def get(full: Any, path: str, **parameters: Any) -> Any:
    response = full[0].client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def walk(full: Any, path: str, **parameters: Any) -> list[Any]:
    """Every item of a list, page by page."""
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(full, path, **parameters, **cursor)
        items += page["data"]
        if not page["has_more"]:
            assert get(full, path, **parameters, cursor=page["next_cursor"])["data"] == []
            return items
        cursor = {"cursor": page["next_cursor"]}


def test_gateways_say_how_they_are(full: Any) -> None:
    _, rig = full
    (row,) = get(full, "/v1/gateways")["data"]
    assert row["id"] == rig.id.hex()
    assert row["blocks"] == 144
    assert row["health"] == "live"
    assert row["exchanges"]["silent"] > 0
    one = get(full, f"/v1/gateways/{row['id']}")
    assert one["configurations"][0]["number"] == 1
    assert {entry["device"] for entry in one["latest"]} == {"M-01", "M-02", "M-03", "M-04", "S-01"}


def test_a_walk_over_blocks_is_whole_and_each_can_be_had_as_it_was_signed(full: Any) -> None:
    house, rig = full
    blocks = walk(full, "/v1/blocks", gateway=rig.id.hex(), limit=100)
    assert [block["seq"] for block in blocks] == list(range(144))
    path = f"/v1/blocks/{rig.id.hex()}/0/143"
    raw = house.client.get(path, params={"format": "cbor"}).content
    assert raw.startswith(b"\xd2\x84")
    _, *chunks = cbor.split(raw[1:])
    assert len(chunks) == 5
    shown = get(full, path)
    assert shown["verified"] is True
    assert {check["name"] for check in shown["checks"]} == {
        "signature", "tree", "counts", "chain", "configuration", "replay"
    }  # fmt: skip
    assert shown["header"]["configuration"]["number"] == 1
    assert len(shown["devices"]) == 5


def test_readings_are_replayed_and_equal_what_the_meters_served(full: Any, truth: dict[Any, str]) -> None:
    _, rig = full
    asked = {"gateway": rig.id.hex(), "device": "M-01", "point": "energy_import"}
    readings = walk(full, "/v1/readings", **asked, limit=100)
    assert len(readings) == 144 * 3
    for reading in readings:
        at = int(datetime.fromisoformat(reading["at"]).timestamp() * 1000)
        assert reading["value"] == truth["M-01", "00010000", at]
    assert readings[0]["unit"] == "kWh"
    assert readings[0]["multiplier"] == "80"
    assert readings[0]["raw"].startswith("68 01 00 07 11 23 20 68 91 08 33 33 34 33")
    assert readings[0]["sig"] == {"alg": "ed25519", "kid": rig.key.public.kid.hex(), "ok": True}


def test_readings_of_all_points_page_without_loss_or_repetition(full: Any, midnight: int) -> None:
    _, rig = full
    asked = {"gateway": rig.id.hex(), "from": "2026-10-03T01:00:00+08:00", "to": "2026-10-03T02:00:00+08:00"}
    small, large = walk(full, "/v1/readings", **asked, limit=100), walk(full, "/v1/readings", **asked, limit=10000)
    assert small == large
    assert len({json.dumps(reading) for reading in large}) == len(large) > 500
    assert all("2026-10-03T01:" in reading["at"] for reading in large)


def test_intervals_sum_to_the_register_difference_and_page_by_ingest_sequence(full: Any) -> None:
    rows = walk(full, "/v1/intervals", device="M-01", point="energy_import", limit=100)
    assert [row["seq"] for row in rows] == sorted({row["seq"] for row in rows})
    rows.sort(key=lambda row: row["start"])
    moved = Decimal(rows[-1]["register_end"]["value"]) - Decimal(rows[0]["register_start"]["value"])
    assert sum(Decimal(row["consumption"]) for row in rows) == moved * 80
    assert rows[0]["unit"] == "kWh"
    assert rows[0]["start"] == "2026-10-03T00:00:00+08:00"


def test_a_walk_by_cursor_misses_nothing_that_comes_meanwhile(house: Any, rig: Any, midnight: int) -> None:
    """More comes with each page than the page holds; what was shown open comes again."""
    rig.enrol(house.store, house.key)
    quarter, span = 900_000, 8
    seen: dict[Any, Any] = {}
    cursor: dict[str, str] = {}
    told: list[bool] = []
    for start in range(midnight, midnight + 5 * span * quarter, span * quarter):
        house.store.append(list(rig.history(start, start + span * quarter, quarter)), midnight)
        page = house.client.get("/v1/intervals", params={"limit": 100, **cursor}).json()
        seen |= {(row["device"], row["point"], row["start"]): row for row in page["data"]}
        cursor = {"cursor": page["next_cursor"]}
        told.append(page["has_more"])
    while told[-1]:
        page = house.client.get("/v1/intervals", params={"limit": 100, **cursor}).json()
        seen |= {(row["device"], row["point"], row["start"]): row for row in page["data"]}
        cursor = {"cursor": page["next_cursor"]}
        told.append(page["has_more"])
    whole = house.client.get("/v1/intervals", params={"limit": 10000}).json()["data"]
    assert seen == {(row["device"], row["point"], row["start"]): row for row in whole}
    assert len(whole) > 200 and sum(told) >= 5, "whoever walks does not catch up with what comes"


def test_the_next_page_is_in_the_link_header(full: Any) -> None:
    house, _ = full
    first = house.client.get("/v1/intervals", params={"limit": 100, "device": "M-01"})
    address = re.fullmatch(r'<(.*)>; rel="next"', first.headers["link"])
    assert address is not None
    second = house.client.get(address[1])
    assert second.status_code == 200
    assert second.json()["data"][0]["seq"] > first.json()["data"][-1]["seq"]
    assert {row["device"] for row in second.json()["data"]} == {"M-01"}


def test_emissions_are_activity_times_factor_and_explain_themselves(full: Any) -> None:
    rows = {row["id"]: row for row in get(full, "/v1/emissions")["data"]}
    closed, today = rows[DAY_ID], rows["E-S-DEMO-2026-10-04"]
    assert (closed["version"], closed["open"], today["open"]) == (1, False, True)
    told = get(full, closed["explain"])
    values = {part["name"]: Decimal(part["value"]) for part in told["inputs"]}
    assert Decimal(told["result"]["value"]) == values["AD"] * values["EF"] / 1000 == Decimal(closed["tco2"]["value"])
    run = told["inputs"][0]["meters"][0]["runs"][0]
    moved = Decimal(run["closing"]["value"]) - Decimal(run["opening"]["value"])
    assert moved * Decimal(run["multiplier"]) == Decimal(run["kwh"])
    assert get(full, f"/v1/emissions/{DAY_ID}")["versions"][0]["version"] == 1
    assert get(full, "/v1/emissions", period="2026-10")["data"][0]["id"] == "E-S-DEMO-2026-10"


def test_evidence_is_a_zip_that_verifies_without_us(full: Any) -> None:
    house, _ = full
    response = house.client.get(f"/v1/evidence/{DAY_ID}@1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert f'"{DAY_ID}@1.zip"' in response.headers["content-disposition"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert "statement.json" in zipfile.ZipFile(io.BytesIO(response.content)).namelist()
    verify(response.content)


def test_incidents_tell_of_the_forged_and_the_altered_block(full: Any) -> None:
    rows = get(full, "/v1/incidents")["data"]
    assert {row["code"] for row in rows} == {"SIG-602", "ENR-401"}


def test_health(full: Any) -> None:
    house, _ = full
    health = get(full, "/v1/health")
    assert (health["status"], health["blocks"], health["gateways"]["live"]) == ("ok", 144, 1)
    assert health["collector"]["spki"] == house.key.spki.hex()
    assert health["collector"]["id"] == house.key.public.id.hex(), "by which an auditor names it"


def test_the_openapi_document_names_every_address_that_reads(full: Any) -> None:
    document = get(full, "/v1/openapi.json")
    assert document["openapi"].startswith("3.")
    assert {
        "/v1/gateways", "/v1/gateways/{gateway}", "/v1/blocks", "/v1/blocks/{gateway}/{epoch}/{seq}", "/v1/readings",
        "/v1/intervals", "/v1/emissions", "/v1/emissions/{reference}/explain", "/v1/evidence/{reference}",
        "/v1/incidents", "/v1/health",
    } <= set(document["paths"])  # fmt: skip
    assert set(document["paths"]["/v1/blocks"]) == {"get", "post"}
    assert "post" in document["paths"]["/v1/enrolments"]


BAD = [
    ("/v1/gateways?colour=red", 422, "/query/colour"),
    ("/v1/gateways/xyz", 422, "/path/gateway"),
    ("/v1/blocks", 422, "/query/gateway"),
    ("/v1/blocks?gateway=zz", 422, "/query/gateway"),
    ("/v1/intervals?limit=1", 422, "/query/limit"),
    ("/v1/intervals?limit=100000", 422, "/query/limit"),
    ("/v1/intervals?limit=abc", 422, "/query/limit"),
    ("/v1/intervals?cursor=abc", 422, "/query/cursor"),
    ("/v1/intervals?cursor=é", 422, "/query/cursor"),
    ("/v1/intervals?from=yesterday", 422, "/query/from"),
    ("/v1/intervals?from=2026-10-03T00:00:00", 422, "/query/from"),
    ("/v1/intervals?from=9999-12-31T23:59:59-23:59", 200, None),
    ("/v1/readings?gateway=" + "0" * 32, 404, None),
    ("/v1/gateways/" + "0" * 32, 404, None),
    ("/v1/blocks/" + "0" * 32 + "/0/0", 404, None),
    ("/v1/blocks/" + "0" * 32 + "/0/99999999999999999999999", 422, "/path/seq"),
    ("/v1/blocks/" + "0" * 32 + "/-1/0", 422, "/path/epoch"),
    ("/v1/emissions?site=elsewhere", 404, None),
    ("/v1/emissions?period=soon", 404, None),
    ("/v1/emissions/E-S-DEMO-2026-13-99", 404, None),
    ("/v1/emissions/E-S-DEMO-0001", 404, None),
    ("/v1/evidence/E-S-DEMO-0001-01-01", 404, None),
    ("/v1/emissions/E-S-DEMO-2026-10-03@7", 404, None),
    ("/v1/emissions/E-S-DEMO-9999-12", 404, None),
    ("/v1/emissions/nonsense/explain", 422, "/path/reference"),
    ("/v1/emissions/E-S-DEMO-2026-10@" + "9" * 90, 422, "/path/reference"),
    ("/v1/evidence/E-NO-2026-10", 404, None),
    ("/v1/nothing", 404, None),
    ("/v1/%00", 404, None),
]


@pytest.mark.parametrize(("path", "status", "pointer"), BAD)
def test_a_bad_question_is_a_problem_that_points(full: Any, path: str, status: int, pointer: str | None) -> None:
    response = full[0].client.get(path, headers={"accept-language": "en"})
    assert response.status_code == status
    if status == 200:
        return
    told = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert told["status"] == status
    assert told["title"] == messages.text(told["code"], "en")
    assert told["type"] == f"/errors#{told['code']}"
    assert told["request_id"] == response.headers["x-request-id"]
    assert told["detail"]
    if pointer is not None:
        assert [entry["pointer"] for entry in told["errors"]] == [pointer]


@pytest.mark.parametrize(("path", "status", "_"), [one for one in BAD if one[1] in (404, 422)])
def test_what_is_wrong_with_a_question_is_said_in_chinese(full: Any, path: str, status: int, _: str | None) -> None:
    told = full[0].client.get(path, headers={"accept-language": "zh-CN"}).json()
    for text in (told["detail"], *(entry["expected"] for entry in told.get("errors", ()))):
        assert re.search(r"[\u4e00-\u9fff]", text) and not re.search(r"[a-z]{3,} [a-z]{2,}", text), text


def test_problems_speak_the_readers_language(full: Any) -> None:
    chinese = full[0].client.get("/v1/nothing", headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert chinese.json()["title"] == messages.text("API-404", "zh")
    assert chinese.headers["content-language"] == "zh-CN"


def test_a_wrong_method_is_a_problem(full: Any) -> None:
    for response in (full[0].client.post("/v1/intervals"), full[0].client.get("/v1/enrolments")):
        assert (response.status_code, response.json()["code"]) == (405, "API-405")


def test_an_altered_row_in_the_database_is_seen(house: Any, rig: Any, midnight: int) -> None:
    rig.enrol(house.store, house.key)
    house.store.append(list(rig.history(midnight, midnight + 1_800_000, 900_000)), midnight)
    other = next(iter(rig.history(midnight, midnight + 900_000, 900_000)))
    with house.store.writing() as db:
        db.execute("UPDATE blocks SET frame = ? WHERE seq = 0", (other[:-1] + bytes([other[-1] ^ 1]),))
    shown = house.client.get(f"/v1/blocks/{rig.id.hex()}/0/0").json()
    assert shown["verified"] is False
    response = house.client.get("/v1/readings", params={"gateway": rig.id.hex()})
    assert (response.status_code, response.json()["code"]) == (409, "SIG-601")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, (1 << 62) - 1), min_size=1, max_size=2))
def test_a_cursor_comes_back_as_it_went(place: list[int]) -> None:
    assert query.decode_cursor(query.encode_cursor(*place), len(place)) == tuple(place)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/v1/intervals", "/v1/readings", "/v1/blocks", "/v1/emissions", "/", "/power.csv"]),
    st.dictionaries(
        st.sampled_from(["gateway", "device", "point", "from", "to", "cursor", "limit", "site", "period", "lang", "x"]),
        st.text(max_size=30)
        | st.integers().map(str)
        | st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
        max_size=4,
    ),
)
def test_no_question_makes_it_fail(full: Any, path: str, parameters: dict[str, str]) -> None:
    text = {key: value.encode("utf-8", "replace").decode() for key, value in parameters.items()}
    assert full[0].client.get(path, params=text).status_code in (200, 404, 422)
