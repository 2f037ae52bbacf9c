"""Imports point down: no cycle, no import inside a function to dodge one, numba in kernels only."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# From the ground up. A module may import those of lower floors, and of its own floor and folder.
FLOORS = [
    ["tensorlite.kernels", "tensorlite.autograd"],
    ["tensorlite.dtypes", "tensorlite.device", "tensorlite.size"],
    ["tensorlite.generator"],
    ["tensorlite.ops"],
    ["tensorlite.creation", "tensorlite.printing", "tensorlite.generator"],
    ["tensorlite.tensor"],
    ["tensorlite.random"],
    ["tensorlite.testing", "tensorlite.data", "tensorlite.serialization"],
    ["tensorlite.profiler", "tensorlite.capture"],
    ["tensorlite.nn"],
    ["tensorlite.optim"],
    ["tensorlite.startup", "tensorlite.doctor"],
    ["tensorlite"],
    ["tensorlite.__main__", "gpt"],
    ["benchmarks"],
    ["tests"],
]
OWN = ("tensorlite", "gpt", "benchmarks", "tests")


def modules():
    """Every module of the tree by its dotted name."""
    found = {}
    for package in OWN:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path
    return found


MODULES = modules()


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path, top_level_only=True):
    """The modules that a file imports: (module, imported name or None, line)."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports absolutely"
            for alias in node.names:
                yield node.module, alias.name, node.lineno


def targets(path, top_level_only=True):
    """Our own modules among them, as precisely as they are named."""
    for module, name, line in imports(path, top_level_only):
        if module.split(".")[0] in OWN:
            deeper = f"{module}.{name}"
            yield (deeper if deeper in MODULES else module), line


def place(name):
    """The number of a module's floor, and the package or module of FLOORS that it belongs to."""
    found = [
        (len(prefix), number, prefix)
        for number, prefixes in enumerate(FLOORS)
        for prefix in prefixes
        if name == prefix or (name.startswith(prefix + ".") and prefix != "tensorlite")
    ]
    assert found, f"{name} has no floor: give it one in FLOORS, and in the README's map"
    return max(found)[1:]


def test_imports_point_down():
    wrong = []
    for name, path in MODULES.items():
        number, package = place(name)
        for target, line in targets(path):
            below, other = place(target)
            if below > number or (below == number and other != package):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_there_is_no_cycle():
    graph = {}
    for name, path in MODULES.items():
        graph[name] = {t for t, _ in targets(path) if t != name and not name.startswith(t + ".")}
    done, walking = set(), []

    def walk(name):
        if name in done:
            return
        assert name not in walking, " -> ".join([*walking[walking.index(name) :], name])
        walking.append(name)
        for target in sorted(graph.get(name, ())):
            walk(target)
        done.add(walking.pop())

    for name in graph:
        walk(name)


def test_our_own_modules_are_imported_at_file_top():
    wrong = []
    for name, path in MODULES.items():
        if name.startswith("tests"):
            continue
        top = {line for _, line in targets(path)}
        wrong += [
            f"{path.relative_to(ROOT)}:{line}"
            for _, line in targets(path, top_level_only=False)
            if line not in top
            and not _inside_type_checking(path, line)
            and not name.startswith("gpt.cli")
        ]
    assert not wrong, "\n".join(wrong)


def _inside_type_checking(path, line):
    return any(
        is_type_checking(node) and node.lineno <= line <= node.end_lineno
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_only_kernels_know_numba():
    for name, path in MODULES.items():
        if name.startswith(("tensorlite.kernels", "tests", "benchmarks", "tensorlite.doctor")):
            continue
        for module, _, line in imports(path, top_level_only=False):
            assert module.split(".")[0] not in ("numba", "llvmlite"), f"{path}:{line}"


def test_gpt_is_a_users_program():
    """It takes public names of tensorlite only."""
    for name, path in MODULES.items():
        if not name.startswith("gpt"):
            continue
        for module, imported, line in imports(path, top_level_only=False):
            parts = [*module.split("."), *([imported] if imported else [])]
            if parts[0] == "tensorlite":
                private = [p for p in parts if p.startswith("_")]
                inner = {"kernels", "autograd", "ops"} & set(parts)
                assert not private and not inner, f"{path}:{line} imports {'.'.join(parts)}"


def test_no_file_is_a_drawer_for_everything():
    for path in MODULES.values():
        assert path.stem not in ("utils", "helpers", "common", "base", "misc") or (
            path.parent.name == "nn"  # torch.nn.utils is a public name
        ), path
