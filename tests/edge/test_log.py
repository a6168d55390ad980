"""Every event the agent tells has its sentence, and one that has none ends nothing."""

import ast
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

import edge
from edge.log import to_stream
from protocols import messages

GAPS = re.compile(r"{(\w+)")


def told() -> Iterator[tuple[str, str, set[str]]]:
    """(place, event, what is known of it) of every call of a log in the agent's code."""
    for path in sorted(Path(edge.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    if _logs(call):
                        for event in _words(call.args[1], function):
                            yield f"{path.name}:{call.lineno}", event, {str(one.arg) for one in call.keywords}


def _logs(node: ast.AST) -> bool:
    named = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("log", "_log")
    return named and len(node.args) == 2


def _words(value: ast.expr, function: ast.AST) -> list[str]:
    """The texts an argument can be: itself, either side of a choice, or what the function gave its name to."""
    if isinstance(value, ast.Name):
        given = [one.value for one in ast.walk(function) if isinstance(one, ast.Assign) and _names(one, value.id)]
        return [word for one in given for word in _words(one, function)]
    if isinstance(value, ast.IfExp):
        return _words(value.body, function) + _words(value.orelse, function)
    return [value.value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []


def _names(given: ast.Assign, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in given.targets)


def test_every_event_that_is_told_has_its_sentence_and_what_the_sentence_names():
    calls = list(told())
    assert {"boot", "clock_known", "clock_doubt_over", "bus_fault_over", "taken_in_again"} <= {one[1] for one in calls}
    for place, event, known in calls:
        entry = messages.catalogue().get(f"edge.log.{event}")
        assert entry is not None, f"{place}: edge.log.{event} is not in the catalogue"
        assert "None" in known or set(GAPS.findall(entry["en"])) <= known, f"{place}: {event}"


@pytest.mark.parametrize("event", ["never_heard_of", "clock_step"])
def test_an_event_without_its_words_is_told_all_the_same(event):
    stream = StringIO()
    to_stream(stream, "en")("warning", event, what="odd")
    assert event in stream.getvalue() and "odd" in stream.getvalue()
