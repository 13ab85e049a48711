"""The arrows of import go one way: core <- links <- drivers, core <- outlets, everything <- app; the simulator stands apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "gateway.core": {"gateway.core"},
    "gateway.links": {"gateway.core", "gateway.links"},
    "gateway.drivers": {"gateway.core", "gateway.links", "gateway.drivers"},
    "gateway.outlets.http": {"gateway.core", "gateway.outlets.reader", "gateway.outlets.http"},
    "gateway.outlets.mqtt": {"gateway.core", "gateway.outlets.reader", "gateway.outlets.mqtt"},
    "gateway.outlets.webhooks": {"gateway.core", "gateway.outlets.reader", "gateway.outlets.webhooks"},
    "gateway.outlets.reader": {"gateway.core"},
    "gateway.config": {"gateway.core", "gateway.config"},
    "gateway.ops": {"gateway.core", "gateway.ops"},
    # The demo stands outside: it starts the gateway as a process and speaks to it as a client.
    "gateway.demo": {"gateway.core", "gateway.demo"},
}
"""Rooms, and what each may import of us."""

NO_TRANSPORT = {"aiohttp", "paho", "serial", "gpiozero", "pigpio", "prometheus_client", "socket", "ssl"}
"""What the core may not know of."""


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, also inside functions, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its arrow"
            assert node.module is not None
            yield node.lineno, node.module


def room_of(module: str) -> str | None:
    """The room a module of ours belongs to; None for the composition root and what stands beside it."""
    return next((room for room in MAY_IMPORT if module == room or module.startswith(room + ".")), None)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def test_no_room_imports_what_it_should_not_know() -> None:
    """An arrow the wrong way is named with its file and line."""
    wrong = []
    seen = set()
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        room = room_of(module_of(path))
        if room is None:
            continue
        seen.add(room)
        for line, module in imports_of(path):
            if module.startswith("gateway.") and not is_within(module, MAY_IMPORT[room]):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {module}")
            if room == "gateway.core" and module.partition(".")[0] in NO_TRANSPORT:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: the core imports {module}")
            if module.partition(".")[0] == "firmware_sim":
                wrong.append(f"{path.relative_to(ROOT)}:{line}: the gateway imports the simulator")
    assert not wrong, "\n".join(wrong)
    assert seen == set(MAY_IMPORT), "a room of the table is gone"


def test_the_simulator_imports_nothing_from_the_gateway() -> None:
    """It is a second witness of each protocol."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {module}"
        for path in sorted((ROOT / "firmware_sim").rglob("*.py"))
        for line, module in imports_of(path)
        if module.partition(".")[0] in ("gateway", "tests")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_top_level_is_what_was_agreed() -> None:
    """Nothing else stands beside the packages."""
    agreed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "gateway", "firmware_sim", "tests", "systemd"}
    there = {
        path.name for path in ROOT.iterdir() if not path.name.startswith(".") and not path.name.endswith(".egg-info")
    }
    assert there - {"build", "dist"} == agreed
