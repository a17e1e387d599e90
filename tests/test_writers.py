"""Whoever writes a file does it by files.py, or stands here with a reason."""

import ast
from pathlib import Path

import pytest

from ckd_dist import files

ROOT = Path(__file__).parents[1]

NAMING = {
    "os": {"replace", "rename", "renames", "fsync", "link", "symlink"},
    "shutil": {"copy", "copy2", "copyfile", "move"},
}
WHOLE = {"write_text", "write_bytes"}  # of a path: what is written so is not whole for a while
TO_A_PATH = {"write_parquet": 0, "write_csv": 0, "ParquetWriter": 0, "save_pretrained": 0, "open": 0}
TO_A_PATH |= {"save_file": 1, "write_table": 1, "np.save": 0, "torch.save": 1}  # writer: which argument is the path
GIVEN_BY = {"replacing", "filling", "replacing_folder", "exporting"}  # contexts that give a temporary path

# Functions that write in another way, and why that is right.
TEMPORARY_FOLDER = "its caller gives it a temporary folder, which is flushed and moved as one"
EXCEPT = {
    "ckd_dist/ehr/events.py:_open": TEMPORARY_FOLDER,
    "ckd_dist/ehr/extract.py:_write_codes": TEMPORARY_FOLDER,
    "ckd_dist/ehr/extract.py:_write_json": TEMPORARY_FOLDER,
    "ckd_dist/ehr/extract.py:_write_splits": TEMPORARY_FOLDER,
    "ckd_dist/ehr/extract.py:_write_unread": TEMPORARY_FOLDER,
    "ckd_dist/models/card.py:write_card": TEMPORARY_FOLDER,
    "ckd_dist/models/crf.py:save": TEMPORARY_FOLDER,
    "ckd_dist/models/export.py:_in_order": TEMPORARY_FOLDER,
    "ckd_dist/models/export.py:_save_adapter": TEMPORARY_FOLDER,
    "ckd_dist/models/sentence_folder.py:_write": TEMPORARY_FOLDER,
    "ckd_dist/models/sentence_folder.py:write_sentence_folder": TEMPORARY_FOLDER,
    "ckd_dist/report/predictions.py:write_meds": TEMPORARY_FOLDER,
    "ckd_dist/engine/tensors.py:write_state": "a checkpoint is nothing until it is sealed, which flushes its files",
    "ckd_dist/hospital/files.py:append": "to memory, and from there to a file that tables_in opened",
    "ckd_dist/progress.py:__call__": "lines are appended; one that is torn is passed over",
    "launch/faults.py:append": "lines are appended, for the driver's screen alone",
    "launch/lock.py:_move_away": "of several drivers one must be first: a lock is put back only where there is none",
    "launch/lock.py:_heartbeat": "a sign of life that waited for a busy disk would come too late",
    "launch/stacks.py:_note_stack": "a sign of life, as above; a torn one is passed over",
}


def writes_of(path: Path) -> set[str]:
    """Every place of a module that writes otherwise than by files.py, as module:function."""
    found: set[str] = set()
    name = path.relative_to(ROOT).as_posix()
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            given = {
                item.optional_vars.id
                for each in ast.walk(function)
                if isinstance(each, ast.With)
                for item in each.items
                if isinstance(item.context_expr, ast.Call)
                and isinstance(item.optional_vars, ast.Name)
                and name_of(item.context_expr.func) in GIVEN_BY
            }
            for each in ast.walk(function):  # place = temporary / "a"
                if isinstance(each, ast.Assign) and root_of(each.value) in given:
                    given |= {target.id for target in each.targets if isinstance(target, ast.Name)}
            found |= {f"{name}:{function.name}" for each in ast.walk(function) if writes(each, given)}
    return found


def writes(node: ast.AST, given: set[str]) -> bool:
    """Say whether a call writes a file or gives it its name; to a path that is `given`, anything may be written."""
    if not isinstance(node, ast.Call):
        return False
    of, name = root_of(node.func) if isinstance(node.func, ast.Attribute) else "", name_of(node.func)
    if name in NAMING.get(of, ()):
        return True
    name = f"{of}.{name}" if name == "save" else name
    if name in WHOLE:
        return of not in given
    if name not in TO_A_PATH or (name == "open" and not opens_to_write(node)):
        return False
    if name == "open" and isinstance(node.func, ast.Attribute):
        return of not in given
    place = node.args[TO_A_PATH[name] :][:1]  # none: a writer that was opened at its path writes on
    return bool(place) and root_of(place[0]) not in given


def opens_to_write(call: ast.Call) -> bool:
    modes = [
        each.value for each in (*call.args, *(word.value for word in call.keywords)) if isinstance(each, ast.Constant)
    ]
    return any(isinstance(mode, str) and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)


def name_of(function: ast.AST) -> str:
    """The last name of what is called."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def root_of(expression: ast.AST | None) -> str:
    """The name that an expression of a path begins with: `temporary` of `(temporary / "a").open`."""
    while expression is not None and not isinstance(expression, ast.Name):
        match expression:
            case ast.BinOp(left=inner) | ast.Attribute(value=inner) | ast.Subscript(value=inner):
                expression = inner
            case ast.Call(args=[inner, *_]) if name_of(expression.func) in ("str", "Path", "open"):
                expression = inner
            case ast.Call(func=inner):
                expression = inner
            case ast.JoinedStr(values=[ast.FormattedValue(value=inner), *_]):
                expression = inner
            case _:
                return ""
    return expression.id if expression is not None else ""


@pytest.mark.parametrize(
    ("line", "is_write"),
    [
        ("os.replace(a, b)", True),
        ("os.fsync(file)", True),
        ("shutil.copyfile(a, b)", True),
        ("path.write_text(words)", True),
        ("(folder / 'a').write_bytes(content)", True),
        ("frame.write_parquet(run.samples(split))", True),
        ("save_file(tensors, folder / 'a')", True),
        ("np.save(folder / 'a', vector)", True),
        ("open(path, 'w')", True),
        ("path.open(mode='ab')", True),
        ("(temporary / 'a').write_text(words)", False),
        ("frame.write_parquet(temporary / 'a')", False),
        ("save_file(tensors, str(temporary))", False),
        ("open(f'{temporary}.txt', 'w')", False),
        ("temporary.open('w')", False),
        ("open(path)", False),
        ("path.open('rb')", False),
        ("text.replace('a', 'b')", False),
        ("calibration.save(path)", False),
    ],
)
def test_the_rule_by_hand(line: str, is_write: bool) -> None:
    assert any(writes(node, {"temporary"}) for node in ast.walk(ast.parse(line))) == is_write


def test_nobody_else_writes_a_file() -> None:
    """A new place that does needs a reason here, in words."""
    modules = [path for folder in ("ckd_dist", "launch") for path in (ROOT / folder).rglob("*.py")]
    found = set().union(*(writes_of(path) for path in modules if path != Path(files.__file__)))
    assert found == EXCEPT.keys()
