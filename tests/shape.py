"""Print the shape of the house, and exit with 1 where it is out of bounds: `make lint` runs it.

A function takes at most 7 arguments and 60 lines, a file 400 lines; no public name stands in more than 4 modules; 90 %
of public functions have a docstring.  A method's self is no argument; *args and **kwargs are one each.
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path

ARGUMENTS, FUNCTION_LINES, FILE_LINES, MODULES, DOCUMENTED = 7, 60, 400, 4, 0.9
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Print each figure and what exceeds its bound; return the exit code."""
    files = {file: file.read_text() for folder in ("ckd_dist", "launch") for file in (ROOT / folder).rglob("*.py")}
    trees = {file.relative_to(ROOT): ast.parse(text) for file, text in files.items()}
    functions = [(file, node) for file, tree in trees.items() for node in ast.walk(tree) if is_function(node)]
    public = [node for _, node in functions if not node.name.startswith("_")]
    homes = defaultdict(set)
    for file, tree in trees.items():
        for node in tree.body:
            if (is_function(node) or isinstance(node, ast.ClassDef)) and not node.name.startswith("_"):
                homes[node.name].add(str(file))
    figures = [
        ("arguments", ARGUMENTS, {f"{file}:{node.lineno} {node.name}": arguments_of(node) for file, node in functions}),
        ("lines of a function", FUNCTION_LINES, {f"{file}:{f.lineno} {f.name}": lines_of(f) for file, f in functions}),
        ("lines of a file", FILE_LINES, {str(f.relative_to(ROOT)): len(t.splitlines()) for f, t in files.items()}),
        ("modules that have a name", MODULES, {name: len(places) for name, places in homes.items()}),
    ]
    documented = sum(ast.get_docstring(node) is not None for node in public) / len(public)
    num_lines = sum(len(text.splitlines()) for text in files.values())
    print(f"{len(files)} files, {num_lines:,} lines, {len(functions):,} functions")
    print(f"{documented:.0%} of {len(public):,} public functions documented, at least {DOCUMENTED:.0%}")
    wrong = documented < DOCUMENTED
    for title, most, sizes in figures:
        largest = max(sizes, key=sizes.get)
        print(f"{title}: most {sizes[largest]} ({largest}), at most {most}")
        for place, size in sorted(sizes.items()):
            if size > most:
                print(f"    {place}: {size}")
                wrong = True
    return int(wrong)


def is_function(node: ast.AST) -> bool:
    """Say whether a node defines a function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def arguments_of(node: ast.FunctionDef) -> int:
    """Count the arguments that a caller gives."""
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return sum(name not in ("self", "cls") for name in names) + bool(given.vararg) + bool(given.kwarg)


def lines_of(node: ast.FunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


if __name__ == "__main__":
    sys.exit(main())
