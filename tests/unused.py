"""Print what no product code uses, and exit with 1 where there is any: `make lint` runs it.

Product is ckd_dist/ and launch/; what only a test or a benchmark reaches is unused.  Four lists come out: functions,
classes, methods and constants that no use leads to from the command line on; parameters (fields of a frozen dataclass
too) whose default no call replaces; parameters that their function never reads; fields that nobody reads.  Names are
followed through imports.  Where only a running program knows, it counts as used: an attribute reaches every method and
field of its name, a function or class that is handed on as a value may be called with anything.  Strings "module:name",
templates, entry points and the Python in READMEs are uses.
"""

import ast
import contextlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
ANY = ""  # in place of a module: an attribute of something whose class is not known
REFERENCE = re.compile(r"(?:^|[\w.]):(\w+)$")
NAMES = re.compile(r"\w+(\.\w+)*")  # a name, or the dotted name of a recipe's field
HARMLESS = {"staticmethod", "classmethod", "property", "cached_property", "cache", "lru_cache", "contextmanager"}
HARMLESS |= {"no_grad", "inference_mode"}  # decorators that register nothing

API = ("open_dataset", "open_shards")  # what users call from programs of their own

LATER, SMALL, GIVEN = "a later step uses it", "a test makes it small", "a test gives it: time and place are arguments"
ALLOWED = {  # as printed, a class with all that is its own -> why it stays
    "ckd_dist.softlabels.read:LabelStream": LATER,  # a student that starts while its labels are made
    "ckd_dist.studies.disease.prompts.exchange:import_jsonl": LATER,  # prompts that another program wrote
    "ckd_dist.ehr.events:write_events(rows_per_file)": SMALL,
    "ckd_dist.ehr.events:write_events(rows_per_block)": SMALL,
    "ckd_dist.softlabels.stream:Order(window)": SMALL,
    "ckd_dist.report.calibrate:fit_label(pull)": "a test compares the fit without it with plain maximum likelihood",
    "ckd_dist.report.timing:measure(clock)": GIVEN,
    "ckd_dist.world:World.from_environment(environment)": GIVEN,
    "ckd_dist.ehr.codemap:CodeMap(crossed)": "it counts what the map is asked",
    "ckd_dist.ehr.codemap:CodeMap(met)": "it counts what the map is asked",
    "ckd_dist.ehr.yamlmap:_Loader.construct_mapping": "yaml calls it",
    "ckd_dist.report.bootstrap:Bootstrap.level": "metrics.json says it",
    "ckd_dist.ehr.labelcheck:CodeReport.num_partial": "the record of stage select says it",
}

Name = tuple[str, str]  # module, name in it; (ANY, name) for a method; (module, "") for a module itself


@dataclass
class Module:
    """One file: what its names are bound to, and what it defines."""

    name: str
    tree: ast.Module
    is_package: bool = False

    @cached_property
    def bindings(self) -> dict[str, Name]:
        """Return what imports bind, anywhere in the file."""
        bound: dict[str, Name] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                for each in node.names:
                    bound[each.asname or each.name] = (self.source(node), each.name)
            elif isinstance(node, ast.Import):
                for each in node.names:
                    bound[each.asname or each.name] = (each.name, "")
        return bound

    def source(self, node: ast.ImportFrom) -> str:
        """Return the module that an import names, also where it counts dots."""
        if not node.level:
            return node.module or ""
        folder = [*self.name.split("."), *[""] * self.is_package][: -node.level]
        return ".".join([*folder, *([node.module] if node.module else [])])


@dataclass(eq=False)
class Definition:
    """A function, class, method or constant, and the names that its own text uses."""

    module: str
    name: str
    node: ast.stmt
    uses: set[Name] = field(default_factory=set)
    kept: bool = False  # a decorator or a base class that is not ours may call it

    @property
    def targets(self) -> set[Name]:
        """Return what a use may name to reach it."""
        if "." in self.name:
            return {(ANY, self.name.rpartition(".")[2])}
        return {(self.module, name) for name in self.name.split(", ")}

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class House:
    """All modules, and who uses what."""

    def __init__(self, modules: dict[str, Module], uses: set[Name]) -> None:
        self.modules = modules
        self.definitions: list[Definition] = []
        self.roots = set(uses)
        for module in modules.values():
            self.define(module)

    def resolve(self, module: Module, node: ast.expr) -> Name | None:
        """Return what a name or an attribute stands for; None where it is a local variable or not ours."""
        if isinstance(node, ast.Attribute):
            owner = self.resolve(module, node.value)
            return (owner[0], node.attr) if owner and not owner[1] else (ANY, node.attr)
        if not isinstance(node, ast.Name):
            return None
        return self.origin(*module.bindings.get(node.id, (module.name, node.id)))

    def origin(self, source: str, name: str) -> Name:
        """Follow a name through modules that only import it; a module itself is (its name, "")."""
        if name and f"{source}.{name}" in self.modules:
            return f"{source}.{name}", ""
        module = self.modules.get(source)
        if module and name in module.bindings and module.bindings[name] != (source, name):
            return self.origin(*module.bindings[name])
        return source, name

    def uses(self, module: Module, *nodes: ast.AST) -> set[Name]:
        """Return all that some pieces of a module name."""
        return set().union(*(self.uses_of_one(module, each) for top in nodes for each in ast.walk(top)))

    def uses_of_one(self, module: Module, node: ast.AST) -> set[Name]:
        """Return what one node names, without the nodes below it."""
        if isinstance(node, ast.Name | ast.Attribute):
            return {self.resolve(module, node)} - {None}
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (named := REFERENCE.search(node.value)):
            return self.named(named[1])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            return self.named(getattr(node.args[1], "value", None))
        return set()

    def named(self, name: object) -> set[Name]:
        """Return every place that may be meant by a bare name."""
        return {(ANY, str(name)), *((module, str(name)) for module in self.modules)}

    def define(self, module: Module) -> None:
        """Note the definitions of a module; all else that stands at its top runs, and is a root."""
        for node in module.tree.body:
            if isinstance(node, FUNCTION):
                self.add(module, node.name, node, node)
            elif isinstance(node, ast.ClassDef):
                self.define_class(module, node)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
                if not names[0].startswith("__"):  # names that are given values together are used together
                    value = [each for each in (node.value, getattr(node, "annotation", None)) if each]
                    self.add(module, ", ".join(names), node, *value)
            elif not isinstance(node, ast.Import | ast.ImportFrom):
                self.roots |= self.uses(module, node)

    def define_class(self, module: Module, node: ast.ClassDef) -> None:
        """Note a class, and each method that a caller must name to reach it."""
        bases = {self.resolve(module, base) for base in node.bases if isinstance(base, ast.Name | ast.Attribute)}
        foreign = any(base[0] not in self.modules and base[1] not in ("Protocol", "object") for base in bases - {None})
        methods = [
            each
            for each in node.body
            if isinstance(each, FUNCTION) and not each.name.startswith("__") and not foreign and not is_kept(each)
        ]
        rest = [each for each in node.body if each not in methods]
        self.add(module, node.name, node, *node.bases, *node.keywords, *node.decorator_list, *rest)
        for each in methods:
            self.add(module, f"{node.name}.{each.name}", each, each)

    def add(self, module: Module, name: str, node: ast.stmt, *pieces: ast.AST) -> None:
        """Note one definition with the names that its pieces use."""
        self.definitions.append(Definition(module.name, name, node, self.uses(module, *pieces), is_kept(node)))

    def unreached(self) -> list[Definition]:
        """Return the definitions to which no use leads from a root."""
        left = list(self.definitions)
        reached = set(self.roots)
        while True:
            new = [each for each in left if each.kept or each.targets & reached]
            if not new:
                return left
            left = [each for each in left if each not in new]
            reached = reached.union(*(each.uses for each in new))

    # --- parameters --------------------------------------------------------------------------------------------------

    def calls(self) -> tuple[dict[Name, list[ast.Call]], set[Name]]:
        """Return the calls of everything that is ours, and all that is handed on as a value."""
        calls: dict[Name, list[ast.Call]] = defaultdict(list)
        values: set[Name] = set(self.roots)
        for module in self.modules.values():
            known = set()  # calls, and what only names a type
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and (target := self.resolve(module, node.func)):
                    calls[target].append(node)
                    known.add(id(node.func))
                known |= {id(each) for top in annotations(node) for each in ast.walk(top)}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Name | ast.Attribute | ast.Constant) and id(node) not in known:
                    values |= self.uses_of_one(module, node)
        return calls, values

    def never_given(self) -> list[str]:
        """Return the parameters with a default that no call replaces, as module:function(parameter)."""
        calls, values = self.calls()
        classes = {(each.module, each.name): each for each in self.definitions if isinstance(each.node, ast.ClassDef)}
        by_keyword = {
            word.arg
            for target, each in ((target, call) for target, found in calls.items() for call in found)
            if target in classes or target[1] in ("cls", "replace")
            for word in each.keywords
        }
        found = []
        for each in self.definitions:
            if each.kept or each.targets & values:
                continue
            own = [call for target in each.targets for call in calls[target]]
            if isinstance(each.node, FUNCTION):
                given = [without_echoes(call, each.node) for call in own]
                names = [name for name, place in defaults(each.node) if not any(gives(c, name, place) for c in given)]
            elif is_dataclass(self.modules[each.module], each.node):
                given = own + [call for target in heirs(self, classes, each) for call in calls[target]]
                names = [
                    name
                    for name, place in fields_of(each.node)
                    if name not in by_keyword and not any(gives(call, name, place) for call in given)
                ]
            else:
                continue
            found += [f"{each}({name})" for name in names]
        return found

    # --- what is given and never read --------------------------------------------------------------------------------

    def unread_parameters(self) -> list[str]:
        """Return the parameters that a body never names, as module:function(parameter).

        Left out is a function whose signature others decide too: it is handed on as a value, or another class has a
        method of its name; one without a body; and one that is cached, whose parameters are the key.
        """
        values, found = self.calls()[1], []
        methods = Counter(name for each in self.definitions for owner, name in each.targets if owner == ANY)
        for each in self.definitions:
            if each.kept or each.targets & values or any(methods[name] > 1 for _, name in each.targets):
                continue
            for function in functions_of(each.node):
                names = {node.id for top in function.body for node in ast.walk(top) if isinstance(node, ast.Name)}
                found += [f"{each}({name})" for name in parameters_of(function) if name not in names]
        return found

    def unread_fields(self) -> list[str]:
        """Return the annotated fields of classes whose name no attribute, template or string reads."""
        read = {name for _, name in self.roots}
        for node in (node for module in self.modules.values() for node in ast.walk(module.tree)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            elif isinstance(node, ast.MatchClass):
                read.update(node.kwd_attrs)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMES.fullmatch(node.value):
                read.update(node.value.split("."))
        return [
            f"{each}.{line.target.id}"
            for each in self.definitions
            if isinstance(each.node, ast.ClassDef)
            if not any(getattr(base, "id", "") == "NamedTuple" for base in each.node.bases)  # read by their places
            for line in each.node.body
            if isinstance(line, ast.AnnAssign) and line.target.id not in read
        ]


def functions_of(node: ast.stmt) -> list[ast.FunctionDef]:
    """Return a function, or what makes a class's objects, where it has a body and no cache."""
    return [
        each
        for each in ([node] if isinstance(node, FUNCTION) else getattr(node, "body", []))
        if isinstance(each, FUNCTION) and (each is node or each.name == "__init__")
        if not any("cache" in ast.unparse(decorator) for decorator in each.decorator_list)
        if not all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in each.body)
    ]


def parameters_of(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's parameters; those that begin with _ say that they are not read."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def heirs(house: House, classes: dict[Name, Definition], parent: Definition) -> list[Name]:
    """Return the classes that name a class as their base."""
    modules = house.modules
    return [
        target
        for target, each in classes.items()
        if (parent.module, parent.name) in {house.resolve(modules[each.module], base) for base in each.node.bases}
    ]


def is_kept(node: ast.stmt) -> bool:
    """Say whether a decorator that is not known to leave a function alone may register it."""
    if not isinstance(node, FUNCTION):
        return False
    names = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(getattr(each, "id", getattr(each, "attr", "")) not in HARMLESS for each in names)


def is_dataclass(module: Module, node: ast.stmt) -> bool:
    """Say whether a class is a plain frozen dataclass; a recipe's parts are pydantic's, and users give their fields."""
    return isinstance(node, ast.ClassDef) and any(
        isinstance(each, ast.Call)
        and module.bindings.get(getattr(each.func, "id", "")) == ("dataclasses", "dataclass")
        and any(word.arg == "frozen" for word in each.keywords)
        for each in node.decorator_list
    )


def annotations(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what only names a type: annotations, and the classes that isinstance compares with."""
    for name in ("annotation", "returns"):
        if piece := getattr(node, name, None):
            yield piece
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
        yield from node.args[1:]


def defaults(node: ast.FunctionDef) -> list[tuple[str, int | None]]:
    """Return the parameters that have a default, each with its place among the positional ones."""
    given = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    bound = given[:1] in (["self"], ["cls"])
    first = len(given) - len(node.args.defaults)
    places: list[tuple[str, int | None]] = [(name, place - bound) for place, name in enumerate(given) if place >= first]
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return places + [(each.arg, None) for each, default in pairs if default is not None]


def fields_of(node: ast.ClassDef) -> list[tuple[str, int | None]]:
    """Return the fields of a dataclass that have a default, each with its place."""
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return [(each.target.id, place) for place, each in enumerate(fields) if each.value is not None]


def gives(call: ast.Call, name: str, place: int | None) -> bool:
    """Say whether a call may give a parameter a value."""
    if any(word.arg in (None, name) for word in call.keywords):
        return True
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    return place is not None and (starred or len(call.args) > place)


def without_echoes(call: ast.Call, function: ast.FunctionDef) -> ast.Call:
    """Return a function's call of itself without the keywords that only pass its own parameter on."""
    if not any(node is call for node in ast.walk(function)):
        return call
    keywords = [word for word in call.keywords if getattr(word.value, "id", None) != word.arg]
    return ast.Call(call.func, call.args, keywords)


def read_house(root: Path, folders: tuple[str, ...] = ("ckd_dist", "launch")) -> House:
    """Read all modules below a folder, and what templates, entry points and READMEs use of them."""
    modules = {}
    for file in sorted(file for folder in folders for file in (root / folder).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, ast.parse(file.read_text()), is_package)
    templates = [file.read_text() for folder in folders for file in (root / folder).rglob("*.jinja")]
    house = House(modules, {(ANY, word) for text in templates for word in re.findall(r"\w+", text)})
    for name in (*API, *re.findall(r'"[\w.]+:(\w+)"', (root / "pyproject.toml").read_text())):
        house.roots |= house.named(name)
    pages = [*root.glob("*.md"), *(file for folder in folders for file in (root / folder).rglob("*.md"))]
    for code in (code for page in pages for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S)):
        with contextlib.suppress(SyntaxError):  # an excerpt
            module = Module("README", ast.parse(code))
            house.roots |= house.uses(module, module.tree)
    return house


def allowance(name: str) -> str:
    """Return the entry of ALLOWED that covers what was found: its own name, or its class's; "" where none does."""
    return next((each for each in ALLOWED if name == each or name.startswith((f"{each}.", f"{each}("))), "")


def main() -> int:
    """Print what is unused and not allowed, and allowances that nothing needs; return the exit code."""
    house = read_house(ROOT)
    found = [*map(str, house.unreached()), *house.never_given(), *house.unread_parameters(), *house.unread_fields()]
    wrong = [f"unused: {name}" for name in found if not allowance(name)]
    wrong += [f"allowed, but used or gone: {name}" for name in ALLOWED.keys() - set(map(allowance, found))]
    print(f"{len(house.definitions):,} definitions, {len(found)} unused, {len(ALLOWED)} allowances")
    for line in wrong:
        print(f"    {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
