"""What is planted dead is found, and what is planted alive is not."""

from pathlib import Path

from tests import unused

FILES = {
    "pyproject.toml": '[project.scripts]\nrun = "launch.run:main"\n',
    "README.md": """
```python
from ckd_dist.tools import for_readers
for_readers(1)
```
```python
an excerpt ...
```
""",
    "launch/__init__.py": "",
    "launch/run.py": """
from ckd_dist import tools
from . import helper
from .helper import Point

STAGE = "ckd_dist.tools:by_reference"

def main():
    tools.alive(1, given=2)
    helper.walk([])
    shape = Point(1, named=3)
    print(shape.read(), STAGE, tools.USED, list(map(helper.handed_on, map(helper.HandedOn, []))))
""",
    "launch/helper.py": """
from dataclasses import dataclass, replace

def walk(items, depth=0, echoed=0):
    return [walk(each, depth=depth + 1, echoed=echoed) for each in items]

def handed_on(value, option=None):
    return value

@dataclass(frozen=True)
class HandedOn:
    option: int = 0

@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    named: int = 0
    replaced: int = 0

    def read(self):
        return replace(self, replaced=1).rendered

    @property
    def rendered(self):
        return self.x

    def shown(self):
        return self.x

    def unread(self):
        return self.x
""",
    "ckd_dist/__init__.py": "",
    "ckd_dist/page.html.jinja": "{{ point.shown() }}",
    "ckd_dist/tools.py": """
USED, USED_WITH_IT = 1, 2
LONELY = 3

def alive(first, given=1, never=2):
    return first

def by_reference():
    return 1

def for_readers(first):
    return first

def dead():
    return only_for_the_dead()

def only_for_the_dead():
    return LONELY
""",
}


UNREAD = {
    "pyproject.toml": "",
    "launch/run.py": """
from ckd_dist import tools

JOBS = {"handed on": tools.handed_on, "by reference": "ckd_dist.tools:by_reference"}
SETTINGS = ("by_string", "part.by_path")
""",
    "ckd_dist/page.md.jinja": "{{ row.by_template }}",
    "ckd_dist/tools.py": """
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

def reads(first, _ignored):
    def inside():
        return first
    return inside

def passes_over(first, second, *, third=1):
    return first

def stub(first):
    "Do nothing."

@lru_cache
def keyed(first, size):
    return first

def handed_on(first, context):
    return first

def by_reference(context):
    return 1

class Engine(Protocol):
    def gathered(self, parameters): ...

class Plain:
    def __init__(self, model, forgotten):
        self.model = model

    def gathered(self, parameters):
        return self.model

    def alone(self, parameters):
        return self.model

@dataclass(frozen=True)
class Row:
    by_attribute: int
    by_template: int
    by_string: int
    by_path: int
    by_match: int
    assigned: int
    unread: int = 0

class Pair(NamedTuple):
    left: int
    right: int

def look(row):
    match row:
        case Row(by_match=1):
            row.assigned = 2
    return row.by_attribute
""",
}


def house_of(root: Path, files: dict[str, str] = FILES) -> unused.House:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return unused.read_house(root)


def test_what_nothing_leads_to_is_found_and_nothing_else(tmp_path):
    found = {str(each).partition(":")[2] for each in house_of(tmp_path).unreached()}
    assert found == {"Point.unread", "LONELY", "dead", "only_for_the_dead"}


def test_defaults_that_no_call_replaces_are_found_and_nothing_else(tmp_path):
    found = {each.partition(":")[2] for each in house_of(tmp_path).never_given()}
    assert found == {"walk(echoed)", "Point(y)", "alive(never)"}


def test_parameters_that_a_body_never_reads_are_found_and_nothing_else(tmp_path):
    found = [each.partition(":")[2] for each in house_of(tmp_path, UNREAD).unread_parameters()]
    assert found == ["passes_over(second)", "passes_over(third)", "Plain(forgotten)", "Plain.alone(parameters)"]


def test_fields_that_nobody_reads_are_found_and_nothing_else(tmp_path):
    found = [each.partition(":")[2] for each in house_of(tmp_path, UNREAD).unread_fields()]
    assert found == ["Row.assigned", "Row.unread"]


def test_an_allowance_covers_a_class_with_all_that_is_its_own(monkeypatch):
    monkeypatch.setattr(unused, "ALLOWED", {"m:Stream": "later"})
    covered = [
        unused.allowance(name) for name in ("m:Stream", "m:Stream.read", "m:Stream(most)", "m:Streams", "m:other")
    ]
    assert covered == ["m:Stream", "m:Stream", "m:Stream", "", ""]
