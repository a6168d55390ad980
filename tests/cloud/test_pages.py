"""The pages: what a person sees, in both languages, with nothing broken between a figure and its frames."""

import html
import re
from collections import Counter
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import pytest

from cloud import receipts
from cloud.pages.incidents import ASKS
from cloud.pages.render import dated
from protocols import messages
from protocols.record import transport
from tests.cloud.page import Page

DAY_ID = "E-S-DEMO-2026-10-03"
HTML = {"accept": "text/html"}
LANGUAGES = ("zh", "en")
MOST_OF_A_KIND = 14


def see(full: Any, path: str) -> str:
    response = full[0].client.get(path, headers=HTML)
    assert response.status_code == 200, f"{path}: {response.status_code}"
    return str(response.text)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_link_from_the_overview_down_leads_somewhere(full: Any, lang: str) -> None:
    house, _ = full
    waiting, seen = [f"/?lang={lang}"], set()
    visits: Counter[str] = Counter()
    while waiting:
        path = waiting.pop(0)
        kind = path.split("/")[1].split("?")[0]
        if path in seen or visits[kind] == MOST_OF_A_KIND:
            continue
        seen.add(path)
        visits[kind] += 1
        response = house.client.get(path, headers=HTML)
        assert response.status_code == 200, f"{path}: {response.status_code}"
        if not response.headers["content-type"].startswith("text/html"):
            continue
        page = Page(response.text)
        assert page.open == [], path
        assert len(page.ids) == len(set(page.ids)), path
        for link in page.links:
            target = urlsplit(urljoin(f"http://collector{path}", link))
            if target.netloc == "collector":
                waiting.append(target.path + (f"?{target.query}" if target.query else ""))
            else:
                assert target.scheme == "https", link
    assert {"", "statements", "gateways", "blocks", "v1", "static", "errors", "power.csv", "days.csv"} <= set(visits)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_nothing_inline_and_nothing_from_elsewhere(full: Any, lang: str) -> None:
    house, rig = full
    for path in ("/", f"/statements/{DAY_ID}", f"/gateways/{rig.id.hex()}", f"/blocks/{rig.id.hex()}/0/7", "/errors"):
        response = house.client.get(path, params={"lang": lang}, headers=HTML)
        policy = response.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert Page(response.text).inline == []
        assert response.headers["content-language"] == {"zh": "zh-CN", "en": "en"}[lang]
        sources = re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]*)"', response.text)
        assert all(source.startswith("/static/") for source in sources)


def test_the_overview_shows_the_open_day_and_links_it(full: Any) -> None:
    house, _ = full
    shown = see(full, "/")
    rows = {row["id"]: row for row in house.client.get("/v1/emissions").json()["data"]}
    today = rows["E-S-DEMO-2026-10-04"]
    whole, _, part = today["activity"]["value"].partition(".")
    grouped = f"{int(whole):,}".replace(",", "\u202f") + (f".{part}" if part else "")
    assert grouped in shown
    assert 'href="/statements/E-S-DEMO-2026-10-04"' in shown
    assert messages.text("page.provisional", "zh") in shown
    assert Page(shown).series == ["M-01", "M-02", "M-03", "M-04", "tCO₂"]
    assert "SIG-602" in shown
    assert "ENR-401" in shown


def test_the_statement_goes_down_to_the_frames(full: Any) -> None:
    house, rig = full
    shown = see(full, f"/statements/{DAY_ID}?lang=en")
    told = house.client.get(f"/v1/emissions/{DAY_ID}/explain").json()
    assert told["result"]["value"] in shown
    assert "difference 0" in shown
    assert f"tanmeter evidence verify {DAY_ID}@1.zip" in shown
    assert f'href="/v1/evidence/{DAY_ID}%401"' in shown
    for meter in told["inputs"][0]["meters"]:
        for end in ("opening", "closing"):
            register = meter["runs"][0][end]
            asked = {"gateway": rig.id.hex(), "device": meter["device"], "point": "energy_import"}
            found = house.client.get("/v1/readings", params={**asked, "limit": 10000}).json()["data"]
            (raw,) = {row["raw"] for row in found if row["at"] == register["at"]}
            assert raw in shown
    assert shown.count("✓ ed25519") == 4


@pytest.mark.parametrize(("sample", "count"), [("random", 30), ("largest", 10), ("outage", 16)])
def test_samples_are_drawn_from_what_was_booked(full: Any, sample: str, count: int) -> None:
    shown = see(full, f"/statements/{DAY_ID}?sample={sample}&seed=5")
    assert shown.count("✓ ed25519") == count
    assert see(full, f"/statements/{DAY_ID}?sample={sample}&seed=5").count("✓ ed25519") == count


def test_a_seed_draws_the_same_sample_again_and_another_another(full: Any) -> None:
    def drawn(seed: int) -> list[str]:
        return re.findall(r"/blocks/\w+/0/\d+\?at=\d+", see(full, f"/statements/{DAY_ID}?sample=random&seed={seed}"))

    assert drawn(5) == drawn(5) != drawn(6)


def test_a_block_page_marks_the_frame_one_came_for(full: Any) -> None:
    shown = see(full, f"/statements/{DAY_ID}")
    link = next(link for link in Page(shown).links if link.startswith("/blocks/"))
    target = see(full, link)
    assert target.count('id="here"') == 1
    assert messages.text("page.block.ok", "zh", n=6) in target


def test_a_silent_meter_is_shown_as_silent(full: Any) -> None:
    _, rig = full
    shown = see(full, f"/blocks/{rig.id.hex()}/0/10?lang=en")
    assert messages.text("page.fault.1", "en") in shown


def test_a_block_altered_on_the_collectors_own_disk_is_told(house: Any, rig: Any, midnight: int) -> None:
    rig.enrol(house.store, house.key)
    frames = list(rig.history(midnight, midnight + 2_700_000, 900_000))
    house.store.append(frames, midnight)
    with house.store.writing() as db:
        db.execute("UPDATE blocks SET frame = ? WHERE seq = 1", (frames[0],))
    path = f"/blocks/{rig.id.hex()}/0/1"
    assert messages.text("page.block.bad", "zh") in house.client.get(path, headers=HTML).text
    after = house.client.get(f"/v1/blocks/{rig.id.hex()}/0/2").json()
    assert {check["name"]: check["ok"] for check in after["checks"]}["chain"] is False


@pytest.mark.parametrize("lang", LANGUAGES)
def test_instants_in_what_is_told_of_an_incident_are_times_with_their_offset(
    house: Any, rig: Any, midnight: int, lang: str
) -> None:
    """As they are stored they are UTC in ms."""
    rig.enrol(house.store, house.key)
    ahead = midnight + 2 * 86_400_000
    house.store.append([transport.pack(rig.block(ahead, ahead + 900_123))], midnight)
    (held,) = house.store.incidents()
    assert f"UTC {ahead + 900_123}, expected none after {midnight}" in held.detail
    told = "found 2026-10-05T00:15:00.123+08:00, expected none after 2026-10-03T00:00:00+08:00: when it was received"
    assert house.client.get("/v1/incidents").json()["data"][0]["detail"] == told
    assert told in see((house,), f"/gateways/{rig.id.hex()}?lang={lang}")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_badge_of_an_incident_says_what_it_asks_of_a_person(
    house: Any, rig: Any, midnight: int, lang: Literal["zh", "en"]
) -> None:
    """One that was damaged asks for nothing once it has been put back."""
    rig.enrol(house.store, house.key)
    told = (("damaged", 1), ("mended", 1), ("damaged", 2), ("restored", 3), ("epoch", 4))
    with house.store.writing() as db:
        for kind, seq in told:
            receipts.tell(db, rig.id, kind, (0, seq), "why", now=midnight)
    shown = see((house,), f"/gateways/{rig.id.hex()}?lang={lang}")
    badges = re.findall(r'<span class="badge (\w+)">([^<]*)</span> <small class="nowrap">([^<]*)</small>', shown)
    tones = ("info", "info", "bad", "info", "warn")
    assert Counter(badges) == Counter(
        (tone, messages.text(f"page.incident.{kind}", lang), messages.text(f"page.incident.asks.{tone}", lang))
        for (kind, _), tone in zip(told, tones, strict=True)
    )


def test_what_every_kind_of_incident_asks_is_known() -> None:
    kinds = {name.removeprefix("page.incident.") for name in messages.catalogue() if name.startswith("page.incident.")}
    words = {
        "kind",
        "where",
        "detail",
        "unknown",
        "shared",
        "refused",
        *(f"asks.{tone}" for tone in set(ASKS.values())),
    }
    assert kinds == ASKS.keys() | words


def test_only_an_instant_is_written_as_one() -> None:
    kept = "M-01.energy: found 1790956800000 (2026-10-03T00:00:00+08:00, 0/7), block 0/1790956800000, ab1790956800000"
    assert dated(kept.replace("2026-10-03T00:00:00+08:00", "2026-10-02T16:00:00+00:00")) == kept
    assert dated("from 1790956800000 to 1790956860000") == "from 2026-10-03T00:00:00+08:00 to 2026-10-03T00:01:00+08:00"


def test_an_empty_collector_says_what_to_do(house: Any) -> None:
    shown = house.client.get("/", headers=HTML).text
    assert messages.text("page.overview.empty", "zh") in shown
    assert "tanmeter cloud invite" in shown


def test_the_language_chosen_is_remembered(house: Any) -> None:
    first = house.client.get("/", params={"lang": "en"}, headers=HTML)
    assert "tanmeter_lang=en" in first.headers["set-cookie"]
    second = house.client.get("/", headers={**HTML, "cookie": "tanmeter_lang=en"})
    assert 'lang="en"' in second.text
    assert 'lang="zh-CN"' in house.client.get("/", headers={**HTML, "accept-language": "fr"}).text


def test_an_error_is_a_page_for_a_browser_and_json_for_a_program(full: Any) -> None:
    client = full[0].client
    page, program = client.get("/gateways/" + "0" * 32, headers=HTML), client.get("/gateways/" + "0" * 32)
    assert (page.status_code, program.status_code) == (404, 404)
    assert "API-404" in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert program.headers["content-type"] == "application/problem+json"
    hostile = client.get("/?site=<script>alert(1)</script>", headers=HTML)
    assert hostile.status_code == 404
    assert "<script>alert" not in hostile.text


@pytest.mark.parametrize(
    ("path", "chinese", "english"),
    [
        ("/nothing", "没有这个地址", "there is no such address"),
        ("/static/nothing.js", "没有这个地址", "there is no such address"),
        ("/?site=NOBODY", "没有站点“NOBODY”", "site 'NOBODY' is not held here"),
        (
            "/power.csv",
            "/query/site：收到 （空），此项必填",
            "/query/site: found nothing, expected a value: it is required",
        ),
        ("/gateways/{id}?before=x", "收到 'x'，应为整数", "found 'x', expected a whole number"),
        ("/gateways/{id}?before=0", "应不小于 1", "expected 1 or more"),
        ("/blocks/{id}/0/99999", "没有数据块“{id}/0/99999”", "block '{id}/0/99999' is not held here"),
        ("/blocks/{id}/0/1?all=x", "应为 true 或 false", "expected true or false"),
        ("/meters/{id}/NONE", "此网关没有表计“NONE”", "device 'NONE' is not of this gateway"),
        ("/meters/{id}/M-01?point=no", "此表计没有测点“no”", "point 'no' is not of this device"),
        ("/statements/E-NOBODY-2026-10", "没有凭证“E-NOBODY-2026-10”", "statement 'E-NOBODY-2026-10' is not"),
        ("/statements/E-S-DEMO-2026-13", "“2026-13”不是期间", "'2026-13' is no period"),
        ("/statements/E-S-DEMO-0001-01-01", "“0001-01-01”不是期间", "'0001-01-01' is no period"),
        ("/city?period=0001", "“0001”不是期间", "'0001' is no period"),
        (
            "/city?period=9998-12-01--9999-02-01",
            "“9998-12-01--9999-02-01”不是期间",
            "'9998-12-01--9999-02-01' is no period",
        ),
        ("/statements/x", "应符合 ^E-", "expected what matches ^E-"),
        ("/accounts/A-NOBODY-2026-10", "没有核算“A-NOBODY-2026-10”", "account 'A-NOBODY-2026-10' is not held"),
        ("/city?boundary=NOBODY", "没有边界“NOBODY”", "boundary 'NOBODY' is not held here"),
        ("/city?by=x", "应为其中之一：'total'", "expected one of 'total'"),
        ("/city?period=2026-13", "“2026-13”不是期间", "'2026-13' is no period"),
    ],
)
def test_an_error_page_is_in_the_readers_language(full: Any, path: str, chinese: str, english: str) -> None:
    """What the framework finds wrong, too; the language that was chosen goes before the browser's."""
    house, rig = full
    for lang, told, other in (("zh", chinese, "en"), ("en", english, "zh")):
        headers = {**HTML, "accept-language": other, "cookie": f"tanmeter_lang={lang}"}
        found = house.client.get(path.format(id=rig.id.hex()), headers=headers)
        assert found.status_code in (404, 422) and told.format(id=rig.id.hex()) in html.unescape(found.text)


def test_a_gateway_names_its_meters_and_says_that_their_numbers_are_before_ratios(full: Any) -> None:
    _, rig = full
    text = see(full, f"/gateways/{rig.id.hex()}?lang=en")
    assert f'href="/meters/{rig.id.hex()}/M-01">M-01 ' in text and "CT × PT not applied" in text
    shown = re.sub(r"<[^>]+>", " ", text)
    assert re.search(r"enrolled\s+20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\s", shown)
    assert not re.search(r"\d\dT\d\d:\d\d", shown.partition("Newest values")[0])


def test_what_befell_a_gateway_is_told_row_below_row_on_a_phone(full: Any) -> None:
    """A table that does not stack left its longest text the width of a letter, and a value was cut off."""
    sheet = files("cloud.pages").joinpath("static", "tanmeter.css").read_text("utf-8")
    phone = sheet.partition("@media (max-width: 620px)")[2].partition("@media print")[0]
    assert "table.stack .nowrap { white-space: normal; }" in phone
    _, rig = full
    for path in (f"/gateways/{rig.id.hex()}", f"/blocks/{rig.id.hex()}/0/0"):
        (event,) = re.findall(r"<tr>(?:(?!</tr>).)*badge info(?:(?!</tr>).)*</tr>", see(full, path), re.DOTALL)[:1]
        assert event.count("<td") == event.count("<td data-th=")


def test_a_counter_without_a_reading_has_no_unit(house: Any, rig: Any) -> None:
    rig.enrol(house.store, house.key)
    assert "– kWh" not in see((house, rig), f"/meters/{rig.id.hex()}/M-01")


def test_an_english_statement_has_no_chinese_colon(full: Any) -> None:
    text = see(full, "/statements/E-S-DEMO-2026-10-03?lang=en")
    assert "M-01: (" in text and "kgCO₂/kWh" in text and not re.search(r"[)>\w]：", re.sub(r"<a .*?</a>", "", text))


def test_csv_is_what_the_chart_shows_and_opens_in_excel(full: Any) -> None:
    client = full[0].client
    power, days = client.get("/power.csv?site=S-DEMO").content, client.get("/days.csv?site=S-DEMO").content
    assert power.startswith(b"\xef\xbb\xbfstart,M-01 kW,")
    assert len(power.splitlines()) == 97
    assert days.decode("utf-8-sig").splitlines()[1].startswith("2026-10-03,")


def test_every_text_of_a_template_is_in_the_catalogue() -> None:
    folder = files("cloud.pages").joinpath("templates")
    used = {name for entry in folder.iterdir() for name in re.findall(r"\bt\('([^']+)'[,)]", entry.read_text("utf-8"))}
    assert len(used) > 100
    assert [name for name in sorted(used) if f"page.{name}" not in messages.catalogue()] == []
    kinds = {
        "event": range(1, 11),
        "fault": range(1, 8),
        "custody": range(4),
        "clock.source": range(6),
        "clock.state": range(3),
    }
    expected = [f"page.{kind}.{number}" for kind, numbers in kinds.items() for number in numbers]
    assert [name for name in expected if name not in messages.catalogue()] == []


def test_texts_stand_out_from_their_ground() -> None:
    sheet = files("cloud.pages").joinpath("static", "tanmeter.css").read_text("utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", sheet))
    pairs = [
        ("ink", "paper"),
        ("ink", "ground"),
        ("muted", "paper"),
        ("muted", "ground"),
        ("link", "paper"),
        ("paper", "deep"),
    ]
    pairs += [(name, f"{name}-bg") for name in ("good", "warn", "bad", "info")]
    assert {
        pair: round(contrast(colours[pair[0]], colours[pair[1]]), 1)
        for pair in pairs
        if contrast(colours[pair[0]], colours[pair[1]]) < 4.5
    } == {}


def test_what_has_the_focus_of_the_keyboard_stands_out_from_every_ground() -> None:
    """A mark that is no text needs three to one (WCAG 2, 1.4.11)."""
    sheet = files("cloud.pages").joinpath("static", "tanmeter.css").read_text("utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", sheet))
    (focus,) = re.findall(r":focus-visible { outline: 3px solid ([^;]+);", sheet)
    shown = colours[focus.removeprefix("var(--").rstrip(")")] if focus.startswith("var") else focus
    assert [name for name in ("paper", "ground", "deep", "info-bg") if contrast(shown, colours[name]) < 3] == []


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
