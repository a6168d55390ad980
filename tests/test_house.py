"""The house: names that are ours, texts in both languages, everything documented, a lean install."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import tanmeter
from edge.salvage_command import PARTLY
from protocols import errors, messages

ROOT = Path(__file__).parent.parent
ROOMS = ("protocols", "drivers", "edge", "cloud", "provisioning", "simulator", "tanmeter")


def subclasses(kind: type) -> set[type]:
    return {kind} | {found for child in kind.__subclasses__() for found in subclasses(child)}


def below(words: str, command: Any) -> list[tuple[str, Any]]:
    """A command or group and all below it, with the words that call each."""
    children = getattr(command, "commands", None) or {}
    return [(words, command), *(one for name, child in children.items() for one in below(f"{words} {name}", child))]


def every_command() -> list[tuple[str, Any]]:
    found = below("tanmeter", typer.main.get_command(tanmeter.app))
    for name, place in tanmeter.ROOMS.items():
        module, _, attribute = place.partition(":")
        found += below(f"tanmeter {name}", typer.main.get_command(getattr(import_module(module), attribute)))
    return found


@pytest.mark.parametrize("name", ROOMS)
def test_the_generic_package_names_are_ours(name: str) -> None:
    assert Path(str(import_module(name).__file__)).is_relative_to(ROOT)


@pytest.mark.parametrize("name", ROOMS)
def test_no_other_distribution_brings_a_package_of_that_name(name: str) -> None:
    claims = [
        dist.name
        for dist in distributions()
        if dist.name != "tanmeter"
        for file in dist.files or ()
        if file.parts[0] in (name, f"{name}.py")
    ]
    assert claims == []


def test_every_message_is_there_in_both_languages_with_the_same_gaps() -> None:
    gaps = re.compile(r"{(\w*)")
    for message_id, entry in messages.catalogue().items():
        assert entry["zh"].strip() and entry["en"].strip(), message_id
        assert set(gaps.findall(entry["zh"])) == set(gaps.findall(entry["en"])), message_id


def test_every_error_has_its_texts_and_its_remedy() -> None:
    for kind in subclasses(errors.TanmeterError):
        entry = messages.catalogue()[kind.code]
        assert entry["zh_fix"] and entry["en_fix"], kind


def test_every_command_option_error_code_and_profile_is_documented() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.pages().items():
        assert (ROOT / "docs" / name).read_text("utf-8") == page, f"docs/{name} is behind: make docs"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_command_option_and_argument_is_explained_in_both_languages(language: messages.Language) -> None:
    for words, command in every_command():
        tanmeter.tell(command, words, language)
        for said in (command.help, *(one.help for one in command.params)):
            assert said.strip(), words
            assert language == "en" or re.search("[\u4e00-\u9fff]", said), (words, said)


def test_the_code_has_no_help_of_its_own_and_its_docstrings_say_what_the_catalogue_says() -> None:
    for words, command in every_command():
        assert [one.opts for one in command.params if one.help] == [], f"{words}: help is in messages_help.toml"
        if not getattr(command, "commands", None):
            assert command.help.split() == messages.help_text(words, "about", "en").split(), words


def test_the_catalogue_explains_nothing_that_is_not_there() -> None:
    there: dict[str, set[str]] = {}
    for words, command in every_command():
        names = {"about", *(one.opts[0] for one in command.params)}
        for place in messages.commands():
            if f"{words} ".startswith(f"{place} "):
                there.setdefault(place, set()).update(names)
    for place, told in messages.commands().items():
        assert place in there, place
        assert set(told) <= there[place], place


@pytest.mark.parametrize(
    ("language", "title", "about"), [("zh", "选项", "导入签名文件"), ("en", "Options", "Take a bundle in")]
)
def test_help_is_shown_in_the_language_that_is_asked_for(
    language: str, title: str, about: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANMETER_LANG", "")  # what --lang sets goes when the test does

    def shown(*words: str) -> str:
        return CliRunner().invoke(tanmeter.app, ["--lang", language, *words]).stdout

    assert title in shown("factor", "import", "--help") and about in shown("factor", "import", "--help")
    assert title in shown("--help") and title in shown("factor") and about in shown("factor", "--help")
    assert "[[" in shown("bus", "plan", "--help"), "brackets are text, not markup"
    assert "…" not in shown("demo", "--help"), "a text without blanks is broken, not cut off"


@pytest.mark.parametrize(
    ("call", "chinese", "english"),
    [
        ("nope", "没有命令“nope”", "there is no command 'nope'"),
        ("edge stat", "没有命令“stat”；是否为 'status'", "there is no command 'stat'; did you mean 'status'"),
        ("edge status --foo", "没有选项 --foo", "there is no option --foo"),
        ("edge run --metrix x", "没有选项 --metrix；是否为 --metrics", "no option --metrix; did you mean --metrics"),
        ("edge status x y", "多出的参数：x y", "too many arguments: x y"),
        ("edge export", "缺少 '--from'", "'--from' is missing"),
        ("account close", "缺少 'subject'", "'subject' is missing"),
        ("cloud serve --port", "'--port' 后面要有值", "'--port' needs a value"),
        ("cloud serve --port abc", "'--port' 的值应为数字", "the value of '--port' must be a number"),
        ("cloud serve --port -1", "'--port' 的值不得小于 0", "the value of '--port' must be 0 or more"),
        ("cloud serve --port 65536", "'--port' 的值不得大于 65535", "the value of '--port' must be 65535 or less"),
        ("factor list --status X", "'--status' 的值 'X' 不对，应为其中之一：'DRAFT'", "'X' is no value of '--status'"),
        ("decode --protocol x 00", "'--protocol' 的值 'x' 不对，应为其中之一：auto", "'x' is no value of '--protocol'"),
        ("factor verify", "'FILE' 的值不对：请给出带 --key 的文件", "wrong value of 'FILE': give a file with --key"),
    ],
)
def test_a_wrong_call_is_told_in_the_language_that_is_asked_for(
    call: str, chinese: str, english: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What typer finds wrong stands in a table of its own English words: another edition of it may have others."""
    monkeypatch.setenv("TANMETER_LANG", "")
    monkeypatch.setenv("COLUMNS", "160")
    for lang, told in (("zh", chinese), ("en", english)):
        found = CliRunner().invoke(tanmeter.app, ["--lang", lang, *call.split()])
        assert found.exit_code == 2 and told in found.output, found.output


@pytest.mark.parametrize(("lang", "told"), [("zh", "已中止。"), ("en", "broken off.")])
def test_who_breaks_a_question_off_is_told_in_the_language_that_is_asked_for(
    lang: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(frames: list[str]) -> list[str]:
        raise typer.Abort

    monkeypatch.setenv("TANMETER_LANG", "")
    monkeypatch.setattr(tanmeter, "one_frame", broken_off)
    found = CliRunner().invoke(tanmeter.app, ["--lang", lang, "decode", "00"])
    assert found.exit_code == tanmeter.INTERRUPTED and told in found.output


def test_output_for_which_there_is_no_room_is_told_and_not_traced() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tanmeter", "--lang", "en", "profile", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    told, remedy = done.stderr.splitlines()
    assert done.returncode == 1 and remedy.startswith("→ free space")
    assert told.startswith("STO-101") and "standard output: found No space left on device" in told


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    known = {kind.exit_code for kind in subclasses(errors.TanmeterError)} | {0, 2, PARTLY, tanmeter.INTERRUPTED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)} == known


def test_what_edge_and_cloud_do_alike_is_the_same_text_in_both() -> None:
    """They may not import each other, nor does what is below them open a socket (docs/adr/0036): mend both or none."""

    def part(file: str, name: str) -> str:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        (found,) = [
            node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
        ]
        return ast.unparse(found).replace("'", "")

    for file, name in (("mqtt.py", "_Complaints"), ("metrics.py", "_gauge"), ("metrics.py", "_counter")):
        assert part(f"edge/{file}", name) == part(f"cloud/{file}", name)
    for name in ("notify.py", "durable.py"):
        assert (ROOT / "edge" / name).read_bytes() == (ROOT / "cloud" / name).read_bytes()


def test_the_readme_names_what_is_there() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        page = (ROOT / name).read_text("utf-8")
        assert "make demo" in page and "make test" in page
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page):
            assert (ROOT / target).exists(), f"{name} points at {target}"


def test_every_decision_is_listed_once_in_order_and_bears_its_number() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| \S.* \|$", (folder / "README.md").read_text("utf-8"), re.M)
    assert [name for _, name in listed] == sorted(file.name for file in folder.glob("*.md") if file.name != "README.md")
    for number, name in listed:
        assert name.startswith(f"{number}-") and (folder / name).read_text("utf-8").startswith(f"# {number} "), name


def test_help_of_the_door_loads_no_room() -> None:
    code = (
        "import sys, tanmeter\nsys.argv = ['tanmeter', '--help']\ntry:\n tanmeter.main()\nexcept SystemExit:\n pass\n"
        "print([m for m in ('edge', 'cloud', 'simulator', 'fastapi', 'numpy', 'httpx') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]"), out


def test_no_library_makes_the_others_talk() -> None:
    """pyMeterBus turns on INFO for everybody when it is imported, unless somebody was there before."""
    code = (
        "import sys, logging, tanmeter\nsys.argv = ['tanmeter', '--help']\ntry:\n tanmeter.main()\nexcept SystemExit:\n"
        " pass\nimport protocols.mbus_records\nprint(logging.getLogger('httpx').isEnabledFor(logging.INFO))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("False"), out


def test_an_error_is_told_with_its_code_and_one_next_action(tmp_path: Path) -> None:
    bad = tmp_path / "site.toml"
    bad.write_text('schema = 1\n[site]\nid = "S"\nname = "x"\ntimezon = "UTC"\n')
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tanmeter",
            "--lang",
            "en",
            "site",
            "init",
            "--state",
            str(tmp_path / "s"),
            "--file",
            str(bad),
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 6, run
    assert "CFG-101" in run.stderr and "did you mean 'timezone'" in run.stderr and "→" in run.stderr


def test_constraints_hold_hashes_and_no_address() -> None:
    text = (ROOT / "requirements" / "constraints.txt").read_text("utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text and " @ " not in text
    for block in re.split(r"\n(?=\S)", text):
        if "==" in block:
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_extras_keep_the_box_lean() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    on_the_box = " ".join(project["dependencies"] + project["optional-dependencies"]["edge"])
    for heavy in ("fastapi", "numpy", "uvicorn", "fastcrc", "pydantic"):
        assert heavy not in on_the_box


@pytest.mark.slow
def test_the_wheel_holds_every_room_and_its_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("tanmeter.py", "protocols/messages.toml", "edge/agent.py", "drivers/profiles/acrel-adl400.toml"):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
