"""The arrows of the architecture, drawn from the import statements: a new one fails here first."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# fmt: off
PURE = {
    "__future__", "array", "bisect", "collections", "contextlib", "csv", "dataclasses", "datetime", "difflib", "enum",
    "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator", "re", "types", "typing",
    "unicodedata", "weakref", "zoneinfo",
}
# fmt: on
"""What the core may import of the standard library: nothing that waits, reads, logs or knows the time."""

ALSO = {
    "policy.yaml_nodes": {"ruamel"},
    "policy.edit_yaml": {"ruamel"},
    "policy.parse": {"ruamel", "gc"},  # a large file is read faster while nothing is collected
    "policy.search": {"sys"},  # sys.maxunicode, a number
}
"""What some of the core needs besides, and why it is harmless."""

EDGES = {
    "policy.synapse_module": {"synapse", "twisted", "canonicaljson", "logging", "pathlib", "time", "uuid"},
    "policy.client_error": {"synapse"},
    "policy.departed": {"synapse", "attr", "sys"},
    "policy.devices": {"synapse"},
    "policy.directory": {"synapse", "time"},
    "policy.downloads": {"synapse", "attr", "time", "urllib"},
    "policy.in_force": {"synapse", "twisted", "logging", "time"},
    "policy.own_pace": {"synapse"},
    "policy.own_words": {"synapse"},
    "policy.said_of_oneself": {"synapse"},
    "policy.module_profiles": {"synapse"},
    "policy.module_refusals": {"synapse"},
    "policy.module_settings": {"synapse", "pathlib"},
    "policy.module_status": {"synapse"},
    "policy.policy_server": {
        *("synapse", "twisted", "signedjson", "unpaddedbase64", "logging", "os", "pathlib", "tempfile", "time")
    },
    "policy.terms_file": {"logging", "pathlib", "threading"},
    "policy.hot_reload": {"gc", "hashlib", "logging", "pathlib", "threading", "time"},
    "policy.in_turns": {"gc", "sys", "time"},
}
"""Modules that touch the world, and what of it."""

FIRST = [
    "policy.model",
    "policy.decision",
    "policy.question",
    "policy.reach",
    "policy.rules",
    "policy.search",
    "policy.decide",
]
"""The way a decision is made: each imports those before it only."""

VAGUE = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "base", "misc"}


def modules(package: str) -> dict[str, Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions; `from a import b` is a.b where that is a module."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


MODULES = modules("policy") | modules("bridge")
IMPORTS = {name: set(imports(file)) for name, file in MODULES.items()}
CORE = sorted(name for name in MODULES if name.startswith("policy"))


def rank(module: str) -> int | None:
    """Where a module stands on the way of a decision."""
    return next((place for place, name in enumerate(FIRST) if module == name or module.startswith(f"{name}.")), None)


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_itself_and_what_is_pure(module: str) -> None:
    allowed = {"policy"} | PURE | ALSO.get(module, set()) | EDGES.get(module, set())
    foreign = {name for name in IMPORTS[module] if name.split(".")[0] not in allowed}

    assert foreign == set()


@pytest.mark.parametrize("module", [name for name in CORE if rank(name) is not None])
def test_a_decision_imports_only_what_comes_before_it(module: str) -> None:
    own = rank(module)
    allowed = set(FIRST[: own + 1]) if own is not None else set()
    later = {
        name
        for name in IMPORTS[module]
        if name.startswith("policy.") and not any(name == one or name.startswith(f"{one}.") for one in allowed)
    }

    assert later == set()


def test_no_module_imports_in_a_circle() -> None:
    graph = {name: imported & MODULES.keys() for name, imported in IMPORTS.items()}

    order = list(TopologicalSorter(graph).static_order())

    assert len(order) == len(MODULES)


def test_only_edges_import_edges() -> None:
    users = {name for name in CORE if EDGES.keys() & IMPORTS[name]}

    assert users <= EDGES.keys()
    assert not [name for name, imported in IMPORTS.items() if "policy.synapse_module" in imported]


def test_the_program_is_imported_by_nobody_and_the_application_by_the_program() -> None:
    users_of_cli = {name for name, imported in IMPORTS.items() if "bridge.cli" in imported}
    users_of_app = {name for name, imported in IMPORTS.items() if "bridge.app" in imported}

    assert users_of_cli <= {"bridge.__main__"}
    assert {name for name in users_of_app if not name.startswith("bridge.demo")} <= {"bridge.operator_commands"}


@pytest.mark.parametrize("module", [name for name in CORE if name not in EDGES])
def test_the_core_opens_no_file_prints_nothing_and_reads_no_clock(module: str) -> None:
    calls = [
        node.func for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))) if isinstance(node, ast.Call)
    ]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    attributes = {call.attr for call in calls if isinstance(call, ast.Attribute)}

    assert names & {"open", "print", "input", "exec", "eval", "__import__"} == set()
    assert attributes & {"now", "utcnow", "today", "read_text", "write_text", "read_bytes", "import_module"} == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_module_has_a_vague_name(module: str) -> None:
    assert not VAGUE & set(module.lower().replace("_", ".").split("."))
