"""A value that has rotted to one of another type, in whichever table, is answered as other rot is, never with 500."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cloud import (
    accounts,
    activities,
    api_account,
    api_accounts,
    api_factors,
    api_health,
    api_indicators,
    api_record,
    api_report,
    early_warning,
    factor_shelf,
    statements,
    subjects,
)
from cloud.city import City
from cloud.pages import account_routes, routes
from tests.cloud import tables
from tests.cloud.box import DAY, Box
from tests.cloud.conftest import House
from tests.cloud.test_rotten_accounts import FILES, MAY
from tests.cloud.test_rotten_rows import site

ROUTERS = (
    *(api_record, api_account, api_accounts, api_indicators, api_factors, api_health, api_report),
    *(routes, account_routes),
)
LISTS = (
    *("/v1/health", "/v1/gateways", "/v1/incidents", "/v1/intervals", "/v1/emissions", "/v1/warnings", "/v1/accounts"),
    *("/v1/corrections", "/v1/subjects", "/v1/targets?year=2023", "/v1/exports/lines?period=2023-05", "/", "/city"),
    *("/city?period=2023-05", "/city.csv?period=2023-05", "/accounts", "/errors", "/v1/factors", "/?site=plant-8"),
    "/v1/rankings?boundary=CITY&period=2023-05&by=total",
)
"""What shows many things: the others are shown although one has rotted."""
OF_ONE = (
    *("/v1/gateways/{g}", "/v1/blocks?gateway={g}", "/v1/blocks/{g}/0/1", "/v1/readings?gateway={g}", "/gateways/{g}"),
    *("/blocks/{g}/0/1", "/meters/{g}/M-01", "/meters/{g}/M-01/intervals.csv?point=energy_import", "/?site=plant-7"),
    *("/power.csv?site=plant-7", "/days.csv?site=plant-7", "/v1/emissions?site=plant-7", "/v1/emissions/{s}"),
    *("/v1/emissions/{s}/explain", "/v1/evidence/{s}", "/statements/{s}"),
)
OF_ACCOUNT = (
    *("/v1/accounts/{a}", "/v1/accounts/{a}/lines", "/v1/accounts/{a}/explain", "/v1/accounts/{a}/flow"),
    *("/v1/accounts/{a}/diff", "/v1/accounts/{a}/verify", "/v1/accounts/{a}/export"),
    *("/v1/accounts/{a}/evidence", "/v1/accounts/{a}/report.docx", "/accounts/{a}", "/accounts/{a}/lines/00000000"),
    *("/accounts/{a}/lines.csv", "/accounts/{a}/sources.csv", "/accounts/{a}/flow", "/accounts/{a}/flow.csv"),
    *("/v1/subjects/MILL", "/v1/indicators?subject=MILL&period=2023-05", "/v1/checks?subject=MILL&period=2023-05"),
    *("/v1/warnings/W-MILL-quota-2023", "/v1/boundaries/CITY/report.docx?period=2023-05", "/v1/factors/x"),
)
TABLES = {
    **dict.fromkeys(("gateways", "configs", "blocks", "events", "latest", "power"), "gateway = ?1"),
    **dict.fromkeys(("incidents", "closed_intervals", "open_intervals", "doubts", "settings"), "gateway = ?1"),
    **dict.fromkeys(("undated", "starts", "resumed", "receipts", "ahead", "damaged", "watermarks"), "gateway = ?1"),
    **dict.fromkeys(("facts", "invites"), "1"),
    "meta": "name = 'ingest_seq'",
    "quarantine": "1",
    "statements": "site = 'plant-7'",
    "journal": "subject = 'MILL' AND kind = 'account'",
}
MORE = (
    "incidents VALUES (NULL, ?, 0, 'fork', 0, 0, 'two')",
    "doubts VALUES (?, 'M-01', 'energy_import', 0, 1, '1000.1', 0, 0, 0)",
    "settings VALUES (?, 'M-01', 'ct', 0, 'm', '80', 0, 0, 0)",
    "undated VALUES (?, 9, 9, 1, NULL)",
    "starts VALUES (?, 0, 0, zeroblob(32), 0)",
    "resumed VALUES (NULL, ?, 9, 0, zeroblob(32), 0)",
    "ahead VALUES (?, 9, 9, zeroblob(32), 5, x'00')",
    "damaged VALUES (?, 9, 9, zeroblob(32), 99)",
    "watermarks VALUES (?, 0, 1, zeroblob(32), 0)",
)
ROTTEN = ("'x'", "x'00ff'", "NULL")


@dataclass(frozen=True)
class World:
    """Two gateways at a site of their own, with all that a collector shows; the first is to be spoilt."""

    house: House
    gateway: bytes
    statement: str

    def paths(self, *templates: str) -> list[str]:
        named = {"g": self.gateway.hex(), "s": self.statement, "a": "A-MILL-2023-05"}
        return [template.format(**named) for template in templates]

    def status(self, path: str) -> int:
        found: int = self.house.client.get(path, headers={"accept": "text/html"}).status_code
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("numbers")
    boxes = [Box(place=name, site=site(name)) for name in ("plant-7", "plant-8")]
    house, now = House(folder, boxes[0].utc), boxes[0].utc + 4_800_000
    for box in boxes:
        box.enrol(house.store)
        box.deliver(house.store, 4, 1_200_000)
    house.store.append([b"no block"], now)
    for name, text in FILES.items():
        subjects.take(house.store, name, tables.subject_file(text).encode(), by="demo", now=now)
    for name in ("MILL", "WORKS"):
        entry = tables.entry("24-08", "2023-05-01", "2023-06-01", "document = 'bill'\nAD = '1000 MWh'")
        activities.declare(house.store, name, tables.activity_file(name, entry).encode(), by="demo", now=now)
        accounts.close(house.store, factor_shelf.library(None), name, MAY, now)
    early_warning.watch(City(house.store), 0, now)
    closed = [statements.close(house.store, name, DAY, now).reference for name in ("plant-7", "plant-8")]
    house.store.book()
    with house.store.writing() as db:
        for box in boxes:
            name = box.key.public.id
            db.execute("INSERT INTO power VALUES (?, 'M-01', 'active_power', ?, 1.5, 1.5, 1)", (name, DAY.start))
            for one in MORE:
                db.execute(f"INSERT INTO {one}", (name,))
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'")
    house.close()
    opened = House(folder, now, house.key)
    yield World(opened, boxes[0].key.public.id, closed[0])
    opened.close()


@dataclass(frozen=True)
class Row:
    """A row that is to rot: its table, the columns that are numbers, the others with what they become, and its key."""

    table: str
    numbers: tuple[str, ...]
    others: dict[str, str]
    where: str
    key: tuple[Any, ...]

    def walk(self, world: World, wrong: dict[str, str], paths: list[str]) -> dict[str, int]:
        """What comes of it while these columns have rotted: all that is not as it should be."""
        names = ", ".join(wrong)
        with world.house.store.writing() as db:
            before = db.execute(f"SELECT {names} FROM {self.table} WHERE {self.where}", self.key).fetchone()
            sets = ", ".join(f"{name} = {value}" for name, value in wrong.items())
            assert db.execute(f"UPDATE {self.table} SET {sets} WHERE {self.where}", self.key).rowcount == 1
        found = {path: world.status(path) for path in paths}
        with world.house.store.writing() as db:
            sets = ", ".join(f"{name} = ?" for name in wrong)
            db.execute(f"UPDATE {self.table} SET {sets} WHERE {self.where}", (*before, *self.key))
        return {path: status for path, status in found.items() if status == 500 or (path in LISTS and status != 200)}


@pytest.fixture(params=TABLES)
def row(world: World, request: pytest.FixtureRequest) -> Row:
    table: str = request.param
    with world.house.store.reading() as db:
        columns = db.execute(f"PRAGMA table_info({table})").fetchall()
        keys = [column[1] for column in columns if column[5]]
        asked = f"SELECT {', '.join(keys)} FROM {table} WHERE {TABLES[table]} LIMIT 1"
        key = db.execute(asked, (world.gateway,) if "?" in asked else ()).fetchone()
    numbers = tuple(column[1] for column in columns if column[2] in ("INTEGER", "REAL") and not column[5])
    others = {
        name: "7" if kind == "BLOB" else "x'00ff'" for _, name, kind, *_ in columns if name not in (*numbers, *keys)
    }
    return Row(table, numbers, others, " AND ".join(f"{name} = ?" for name in keys), key)


def test_every_get_is_walked(world: World) -> None:
    paths = [path.partition("?")[0] for path in world.paths(*LISTS, *OF_ONE, *OF_ACCOUNT)]
    found = [route for module in ROUTERS for route in module.router.routes if "GET" in route.methods]
    assert len(found) > 45
    assert [route.path for route in found if not any(route.path_regex.fullmatch(path) for path in paths)] == []
    assert {world.status(path) for path in world.paths(*LISTS, *OF_ONE)} == {200}
    other = {path: status for path in world.paths(*OF_ACCOUNT) if (status := world.status(path)) != 200}
    assert set(other.values()) == {404, 422} and len(other) == 3, other


def test_no_get_ends_in_a_500_whatever_value_has_rotted_and_lists_show_the_rest(world: World, row: Row) -> None:
    near = world.paths(*LISTS[:9], "/", "/city", "/accounts", *OF_ONE)
    of_numbers = {column: ROTTEN[place % len(ROTTEN)] for place, column in enumerate(row.numbers)}
    for wrong in [{column: value} for column, value in (of_numbers | row.others).items()]:
        assert row.walk(world, wrong, near) == {}, wrong
    wrong = dict.fromkeys(row.numbers, ROTTEN[0])
    assert row.walk(world, wrong, world.paths(*LISTS, *OF_ACCOUNT)) == {}


def test_a_statement_that_has_rotted_is_no_reason_to_show_none_nor_is_another_shown_in_its_place(world: World) -> None:
    row = Row("statements", (), {}, "site = ?", ("plant-7",))
    period = world.statement.partition("@")[0]
    assert row.walk(world, {"content": "zeroblob(9)"}, world.paths(*LISTS)) == {}
    with world.house.store.writing() as db:
        (content,) = db.execute("SELECT content FROM statements WHERE site = 'plant-7'").fetchone()
        db.execute("UPDATE statements SET content = zeroblob(9) WHERE site = 'plant-7'")
    told = {one["site"]: one for one in world.house.client.get("/v1/emissions").json()["data"]}
    found = [world.house.client.get(f"/v1/emissions/{name}") for name in (world.statement, period)]
    days = world.house.client.get("/days.csv?site=plant-7").text.splitlines()
    with world.house.store.writing() as db:
        db.execute("UPDATE statements SET content = ? WHERE site = 'plant-7'", (content,))
    assert period in told["plant-7"]["unreadable"] and "unreadable" not in told["plant-8"]
    assert [(one.status_code, one.json()["code"]) for one in found] == [(503, "STO-106")] * 2
    assert days[1] == f"2026-09-22,,,1,{period}"


def test_a_gateway_of_which_a_number_has_rotted_is_named_and_none_is_let_in_again(world: World) -> None:
    row = Row("gateways", (), {}, "gateway = ?", (world.gateway,))
    name = world.gateway.hex()
    with world.house.store.writing() as db:
        db.execute("UPDATE gateways SET revoked_at = 'x', enrolled_at = 'x' WHERE gateway = ?", row.key)
    shown = world.house.client.get(f"/v1/gateways/{name}").json()
    listed = [one["unreadable"] for one in world.house.client.get("/v1/gateways").json()["data"]]
    health = world.house.client.get("/v1/health").json()["unreadable"]["gateways"]
    held = world.house.store.gateway(world.gateway)
    with world.house.store.writing() as db:
        db.execute("UPDATE gateways SET revoked_at = NULL, enrolled_at = 0 WHERE gateway = ?", row.key)
    assert shown["unreadable"] == ["enrolled_at", "revoked_at"] and shown["health"] == "revoked"
    assert sorted(listed) == [[], ["enrolled_at", "revoked_at"]] and health == [name]
    assert held is not None and held.revoked
