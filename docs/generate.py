"""Writes the reference pages from what they describe: commands.md, errors.md, profiles.md. ``make docs`` runs it."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import typer

import tanmeter
from cloud.accounting import blocks, indicators
from cloud.accounting import method as methods
from cloud.accounting.indicators import Node
from cloud.accounting.method import Method, Row
from drivers import builtin, cjt188_options, vocabulary
from drivers.profile import Identify, Profile
from drivers.profile_file import load
from protocols import messages

HERE = Path(__file__).parent

COMMANDS = """# Commands

[中文](commands.zh-CN.md)

One command, `tanmeter`. Standard output carries the result, standard error the talk; `--json` gives one object with stable keys. The
language follows `--lang zh|en` (before the command), else `LANG`, else Chinese. Exit codes: [errors.md](errors.md).
"""
COMMANDS_ZH = """# 命令

[English](commands.md)

只有一个命令 `tanmeter`。结果写到标准输出，说明写到标准错误；`--json` 给出一个键名稳定的对象。语言按 `--lang zh|en`（写在子命令之前），
其次 `LANG`，再无则为中文。退出码：[errors.md](errors.md)。
"""
ARGUMENTS = {"zh": "参数：{}", "en": "Arguments: {}"}
OPTIONS = {"zh": "| 选项 | 说明 | 缺省 |", "en": "| option | meaning | default |"}
ERRORS = """# Errors

One code everywhere: command line, page, API, log. Each has one next action. The texts are those of `protocols/messages.toml`.

| code | 含义 · meaning | 下一步 · next action |
| --- | --- | --- |
"""
EXIT_CODES = """
## Exit codes

| code | meaning |
| --- | --- |
| 0 | it holds |
| 1 | internal error, the disk is full or fails, or another process holds the folder |
| 2 | the command was used wrongly |
| 3 | no device answers, or a frame is not good |
| 4 | a signature, a chain or an evidence pack does not verify; unknown or revoked |
| 5 | the collector or the agent cannot be reached |
| 6 | the configuration is invalid |
| 7 | done in part: some blocks are damaged, missing or not put back, or some accounts not drawn up |
| 8 | the data do not suffice: no factor, no account |
| 130 | interrupted |
"""
PROFILES = """# Device profiles

A profile is one TOML file in `drivers/profiles/`: what a model is asked, what its answers mean, what its link bears, and proof frames
that every build replays. How far each was checked is said plainly:

- **doc-only**: composed from a published register map, nothing more.
- **simulator**: also read by our driver from a simulated meter that is made from the same document and that an independent master
  (pymodbus; mbpoll for some) reads alike; for CJ/T 188, which has none, frames that others captured stand in. The table can be read
  and means what it says; that the device follows it is not known.
- **bench**, **field**: on a real meter. None of ours is yet.

A profile of your own lies in a folder given with `--profile-dir`, as ID.toml, and is named by its id. Start from the sheet of a
similar model: `tanmeter profile sheet ID`, fill it in, `tanmeter profile new --from ID.xlsx --out MINE.toml`, `tanmeter profile test
MINE.toml`, then `pytest hardware-tests --profile MINE.toml` at the meter.
"""
NAMES = """
## Names of points

One quantity has one name, whoever made the meter; a part of it is said behind: `voltage_a`, `voltage_ab`, `energy_import_t1` (tariff
1), `mass_2` (second totaliser), `energy_import_unit` (the code of its unit). A state is a status point.

| name | 含义 · meaning | units |
| --- | --- | --- |
"""

METHODS = """# Methods

How emissions are reckoned: each guideline, in each edition, as data. A method is chosen by programme and period, never by "latest"; the
table of fuels goes with the guideline and its edition, for a tonne of anthracite is 1.92 to 2.52 t of CO2 by table. Nothing here was read
from a printed guideline: every method is **DRAFT** until a person has compared it with the print, and a locked account refuses a draft
unless it names it as an exception. Values with unit, standing and source: `tanmeter factor list`; one method with all its items:
`tanmeter method show ID`.

| id | 名称 · name | edition | in force | GWP | status |
| --- | --- | --- | --- | --- | --- |
"""
BLOCKS = """
## Blocks

Every row of every method is one of these formulas. When a method is loaded, each row is checked with the units of its symbols: it must
come out as a mass of its gas (tC is not tCO2, Nm3 is not m3), so a lost 44/12 cannot be written down.

| block | 含义 · meaning | formula | symbols |
| --- | --- | --- | --- |
"""

LEAVES = """
## The leaves of Table 2 · 表2的指标叶

Where a line stands in the indicator tree of T/CI 231-2023 ([clause by clause](standard.md)): each leaf as printed, what decides its arithmetic, and the
rows that come to it. Leaves that we added beside the print are marked +.

| leaf | 位置 · place | class | rows |
| --- | --- | --- | --- |
"""

CJT188 = """
## Options of CJ/T 188 meters

What makers do differently. A profile has its own; `options = { flow_decimals = 2 }` of a device in the site file goes before them.

| option | values | default | 含义 · meaning |
| --- | --- | --- | --- |
"""


def pages() -> dict[str, str]:
    """Every reference page by its file name."""
    return {
        "commands.md": COMMANDS + "".join(_command(words, command, "en") for words, command in _commands("en")),
        "commands.zh-CN.md": COMMANDS_ZH
        + "".join(_command(words, command, "zh") for words, command in _commands("zh")),
        "errors.md": ERRORS + "".join(_errors()) + EXIT_CODES,
        "profiles.md": PROFILES
        + "".join(_profile(load(builtin.builtin(name), name)) for name in builtin.builtin_ids())
        + NAMES
        + "".join(_names())
        + CJT188
        + "".join(_cjt188()),
        "methods.md": METHODS
        + "".join(_method_line(one) for one in methods.builtin().values())
        + BLOCKS
        + "".join(_blocks())
        + "".join(_method(one) for one in methods.builtin().values())
        + LEAVES
        + "".join(_leaf(node) for node in indicators.tree().leaves),
    }


def _method_line(one: Method) -> str:
    force = f"{one.effective_from} –" + (f" {one.effective_until}" if one.effective_until else "")
    return f"| [`{one.id}`](#{one.id.replace('.', '')}) | {one.zh}<br>{one.en} | {one.edition} | {force} | {one.gwp} | {one.status} |\n"


def _blocks() -> Iterator[str]:
    """A line for each block: its formula and the units of its symbols."""
    for block in blocks.BLOCKS.values():
        symbols = "; ".join(f"{slot.name} {slot.zh} · {slot.en} [{', '.join(slot.units)}]" for slot in block.slots)
        yield f"| `{block.id}` | {block.zh}<br>{block.en} | E = {block.formula.text()} | {symbols.replace('{gas}', 'gas')} |\n"


def _method(one: Method) -> str:
    sets = ", ".join(f"`{held.id}`" for held in one.sets)
    head = f"\n## `{one.id}`\n\n{one.zh} · {one.en}. {one.document}, {one.edition}, programme {one.programme}; parameters {sets}."
    why = "<br>".join(part for part in (f"{one.reason}.", f"{one.reason_zh}。" if one.reason_zh else "") if part)
    head += f"\n**{one.status}**: {why}\n\n| row | 排放源 · source | E = | gas | class | indicator leaf | note |\n"
    return head + "| --- | --- | --- | --- | --- | --- | --- |\n" + "".join(_row(row) for row in one.rows.values())


def _row(row: Row) -> str:
    leaf = row.leaf if isinstance(row.leaf, str) else "<br>".join(dict.fromkeys(row.leaf.values()))
    formula = f"{'−' if row.sign == -1 else ''}`{row.block}` {blocks.block(row.block).formula.text()}"
    baseline = f"baseline: {row.baseline_en}" if row.baseline_en else ""
    said = (row.note, row.source, baseline, "needs a proof" if row.proof else "")
    note = _paragraph("; ".join(part for part in said if part))
    return f"| {row.row} | {row.zh}<br>{row.en} | {formula} | {row.gas} | {row.class_} | {leaf} | {note} |\n"


def _leaf(node: Node) -> str:
    """A leaf with the names above it, and every row of every method that comes to it."""
    tree = indicators.tree()
    place = " / ".join(tree.nodes[name].zh for name in reversed(list(tree.path(node.id))))
    held = [
        f"`{one.id}` {', '.join(rows)}"
        for one in methods.builtin().values()
        if (rows := [row.row for row in one.rows.values() if node.id in _at(row)])
    ]
    return f"| `{node.id}`{'' if node.in_standard else ' +'} | {place}<br>{node.en} | {node.class_} | {'; '.join(held)} |\n"


def _at(row: Row) -> set[str]:
    """The leaves that a row can come to."""
    return {row.leaf} if isinstance(row.leaf, str) else set(row.leaf.values())


def _names() -> Iterator[str]:
    """A line for each conventional name of a point."""
    for name, units in {**vocabulary.UNITS, **dict.fromkeys(vocabulary.STATES, vocabulary.NUMBER)}.items():
        entry = messages.catalogue()[f"quantity.{name}"]
        yield f"| `{name}` | {entry['zh']} · {entry['en']} | {' '.join(units) if units != vocabulary.NUMBER else ''} |\n"


def _cjt188() -> Iterator[str]:
    """A line for each option of a CJ/T 188 meter."""
    for field in msgspec.structs.fields(cjt188_options.Options):
        entry = messages.catalogue()[f"option.cjt188.{field.name}"]
        default = "" if field.default in (msgspec.NODEFAULT, None) else f"`{field.default}`"
        meaning = f"{entry['zh']} · {entry['en']}"
        yield f"| `{field.name}` | {_values(field.type)} | {default} | {meaning} |\n"


def _values(hint: Any) -> str:
    """What an option may be."""
    if get_origin(hint) is Literal:
        return " ".join(f"`{value}`" for value in get_args(hint))
    return "0 to 8" if hint is cjt188_options.Decimals else "a byte in hex, like `2C`"


def _commands(language: messages.Language) -> Iterator[tuple[str, Any]]:
    """Each command with the words that call it, its texts in this language."""
    for name, place in tanmeter.ROOMS.items():
        module, _, attribute = place.partition(":")
        room = typer.main.get_command(getattr(import_module(module), attribute))
        tanmeter.tell(room, f"tanmeter {name}", language)
        yield from _leaves(f"tanmeter {name}", room)
    door = typer.main.get_command(tanmeter.app)
    tanmeter.tell(door, "tanmeter", language)
    yield from _leaves("tanmeter", door)


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield words, command
    for name, child in (children or {}).items():
        yield from _leaves(f"{words} {name}", child)


def _command(words: str, command: Any, language: messages.Language) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = f"\n## `{words}`\n\n{_paragraph(command.help)}\n"
    if arguments:
        named = "; ".join(f"`{one.name.upper()}` ({_paragraph(one.help)})" for one in arguments)
        usage += f"\n{ARGUMENTS[language].format(named)}\n"
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    if options:
        usage += f"\n{OPTIONS[language]}\n| --- | --- | --- |\n"
        usage += "".join(_option(option) for option in options)
    return usage


def _option(option: Any) -> str:
    default = option.default
    shown = f"`{default}`" if default not in (None, "", False, ()) and not callable(default) else ""
    return f"| {', '.join(f'`{name}`' for name in option.opts)} | {_paragraph(option.help)} | {shown} |\n"


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _errors() -> Iterator[str]:
    for code, entry in messages.catalogue().items():
        if re.fullmatch(r"[A-Z]{3}-\d{3}", code):
            yield f"| `{code}` | {entry['zh']}<br>{entry['en']} | {entry['zh_fix']}<br>{entry['en_fix']} |\n"


def _profile(profile: Profile) -> str:
    fits = "; ".join(
        f"{item.brand} {item.model}" + (f" ({item.note})" if item.note else "") for item in profile.products
    )
    points = ", ".join(f"`{point.id}`" + (f" {point.unit}" if point.unit != "1" else "") for point in profile.points)
    marks = f"- Identified by: {_marks(profile.identify)}.\n" if profile.identify is not None else ""
    set_ = ", ".join(f"`{key} = {value!r}`" for key, value in profile.options.items()).replace("'", '"')
    options = f"- Options: {set_}.\n" if set_ else ""
    mind = f"- Mind: {profile.source.note}\n" if profile.source.note else ""
    return (
        f"\n## `{profile.id}`\n\n{profile.title.zh} · {profile.title.en}. Protocol {profile.protocol},"
        f" {len(profile.points)} points, verified: **{profile.source.verified}**.\n\n"
        f"- Fits: {fits}\n- Source: {profile.source.doc}.\n{mind}{options}{marks}- Points: {points}.\n"
    )


def _marks(identify: Identify) -> str:
    """What tells the model, in words."""
    words = " ".join(f"{word:04X}" for word in identify.expect)
    read = [f"register {identify.read.address} (function {identify.read.fc}) says `{words}`"] if identify.read else []
    return ", ".join([*read, *(f"`{point}` {low} to {high}" for point, (low, high) in identify.ranges.items())])


def main() -> None:
    """Write the pages."""
    for name, page in pages().items():
        (HERE / name).write_text(page, "utf-8")


if __name__ == "__main__":
    main()
