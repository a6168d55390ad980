"""Typed structs: two threads that convert to one type for the first time do not kill the process."""

import subprocess
import sys

RACE = '''
import sys, threading, types
import msgspec
from protocols import structs

SOURCE = """
from __future__ import annotations
from typing import Annotated, Literal
import msgspec
class Inner(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["a", "b"] = "a"
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    listed: list[Inner] = []
    named: dict[str, Inner] = {}
"""
sys.setswitchinterval(1e-6)
for number in range(60):
    module = sys.modules[f"file{number}"] = types.ModuleType(f"file{number}")
    exec(SOURCE, vars(module))
    structs.learn()
    together = threading.Barrier(3)
    def convert():
        together.wait()
        msgspec.convert({"name": "x", "listed": [{"count": 2}]}, module.Outer)
    threads = [threading.Thread(target=convert) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
'''


def test_what_is_learnt_before_there_are_threads_is_safe_to_convert_to_in_all_of_them() -> None:
    ran = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
