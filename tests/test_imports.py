from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"redis", "sqlalchemy", "rich", "msgspec"}


def imported(tmp_path: Path, *arguments: str, **variables: str) -> set[str]:
    """The top-level packages that a run of the command imports."""
    return {module.partition(".")[0] for module in modules_imported(tmp_path, *arguments, **variables)}


def modules_imported(tmp_path: Path, *arguments: str, **variables: str) -> set[str]:
    """All modules that a run of the command imports."""
    script = """if True:
        import sys
        from checkout_cli.__main__ import main
        try:
            main()
        finally:
            sys.stderr.write("".join(f"imported {name}\\n" for name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    modules = set(re.findall(r"^imported (\S+)$", done.stderr, re.MULTILINE))
    assert "checkout_cli.cli.main" in modules
    return modules


class TestStart:
    @pytest.mark.parametrize("option", ["--help", "--version"])
    def test_help_and_version_import_nothing_heavy(self, option: str, tmp_path: Path) -> None:
        assert HEAVY.isdisjoint(imported(tmp_path, option))

    def test_help_of_a_command_imports_nothing_heavy(self, tmp_path: Path) -> None:
        for words in (("cleanup",), ("sessions",), ("sessions", "list")):
            assert HEAVY.isdisjoint(imported(tmp_path, *words, "--help"))

    def test_a_command_does_not_pay_for_the_others(self, tmp_path: Path) -> None:
        modules = modules_imported(tmp_path, "cleanup", "--help")
        assert "checkout_cli.commands.cleanup.command" in modules
        assert modules.isdisjoint(
            {
                "checkout_cli.commands.sessions.command",
                "checkout_cli.commands.health.command",
                "checkout_cli.commands.config.command",
                "checkout_cli.commands.health",
            }
        )

    def test_completion_imports_neither_redis_nor_sqlalchemy(self, tmp_path: Path) -> None:
        variables = {"_CHECKOUTCTL_COMPLETE": "complete_bash", "COMP_WORDS": "checkoutctl cle", "COMP_CWORD": "1"}
        assert HEAVY.isdisjoint(imported(tmp_path, **variables))
        variables |= {"COMP_WORDS": "checkoutctl sessions upd", "COMP_CWORD": "2"}
        assert HEAVY.isdisjoint(imported(tmp_path, **variables))

    def test_the_package_itself_imports_nothing_heavy(self) -> None:
        script = "import sys, checkout_cli; print(sorted({name.partition('.')[0] for name in sys.modules}))"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert not [name for name in HEAVY if repr(name) in done.stdout]

    def test_a_command_that_needs_them_would_be_noticed(self, tmp_path: Path) -> None:
        nobody = {"REDIS_PORT": "1", "DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}"}
        assert {"redis", "msgspec"} <= imported(tmp_path, "cleanup", "--expired", "--dry-run", **nobody)


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the contracts of the pyproject.toml in a directory, on the package in that directory."""
    executable = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    assert executable is not None, "import-linter is not installed"
    return subprocess.run(
        [executable, "--no-cache"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(directory), "PYTHONUTF8": "1", "COLUMNS": "200"},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestContracts:
    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        """The package and its contracts, to be broken."""
        shutil.copytree(ROOT / "checkout_cli", tmp_path / "checkout_cli", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        return tmp_path

    def test_they_hold(self) -> None:
        done = lint_imports(ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 broken" in done.stdout

    @pytest.mark.parametrize(
        ("module", "statement", "contract"),
        [
            ("store/breaker.py", "import checkout_cli.terminal.safe", "Imports point down"),
            ("store/breaker.py", "import checkout_cli.domain", "Imports point down"),
            ("commands/cleanup/expired.py", "import checkout_cli.cli.main", "Imports point down"),
            ("jobs/cursors.py", "import checkout_cli.files.state_file", "Imports point down"),
            ("errors.py", "import checkout_cli.config.settings", "Imports point down"),
            ("commands/sync/sync.py", "import checkout_cli.commands.health.health", "Nothing is imported in a circle"),
            (
                "commands/memory/limits.py",
                "import checkout_cli.commands.memory.tune",
                "Nothing is imported in a circle",
            ),
            ("store/memory_tier.py", "import checkout_cli.store.database.tier", "Tiers know nothing of each other"),
            ("store/protocol/trust.py", "import redis", "The store's protocol does no I/O"),
            ("store/protocol/row.py", "import checkout_cli.store.database.tier", "The store's protocol does no I/O"),
            ("store/protocol/value.py", "import time", "The store's protocol does no I/O"),
            ("jobs/cursors.py", "import rich", "Nothing below the terminal renders"),
            ("store/breaker.py", "import typer", "Nothing below the terminal renders"),
            ("commands/cleanup/command.py", "import redis", "Commands hold no Redis, SQL or Rich"),
            ("commands/cleanup/command.py", "import sqlalchemy", "Commands hold no Redis, SQL or Rich"),
        ],
    )
    def test_a_forbidden_import_breaks_one(self, module: str, statement: str, contract: str, copy: Path) -> None:
        path = copy / "checkout_cli" / module
        path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
        done = lint_imports(copy)
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(rf"^{contract}.* BROKEN$", done.stdout, re.MULTILINE)


COMMAND, VIEW, OPERATION = "command", "view", "operation"
MAY_USE = {COMMAND: {COMMAND, VIEW, OPERATION}, VIEW: {VIEW, OPERATION}, OPERATION: {OPERATION}}
"""What each kind of module in a command's folder may import of these folders."""


def kind_of(module: str) -> str:
    """What a module in a command's folder is, by its name; over HTTP, ``serve/app.py`` is the command."""
    name = module.rpartition(".")[2]
    if name in {"command", "app", "running"} or name.endswith("_command"):
        return COMMAND
    return VIEW if name == "view" or name.endswith("_view") else OPERATION


def upward(package: Path) -> list[str]:
    """The imports in ``commands`` that go from an operation to a view or a terminal, or from either to a command."""
    sys.path.insert(0, str(package.parent))
    try:
        graph = grimp.build_graph("checkout_cli", include_external_packages=True, cache_dir=None)
    finally:
        sys.path.remove(str(package.parent))
    found = []
    for module in (name for name in graph.modules if name.startswith("checkout_cli.commands.")):
        kind = kind_of(module)
        for imported in graph.find_modules_directly_imported_by(module):
            if imported.startswith("checkout_cli.commands."):
                other = kind_of(imported)
                allowed = other in MAY_USE[kind] and (
                    other != COMMAND or imported.split(".")[2] == module.split(".")[2]
                )
            else:
                shown = imported.startswith(("rich", "checkout_cli.terminal"))
                typed = imported.startswith(("typer", "checkout_cli.arguments"))
                allowed = not (typed and kind != COMMAND) and not (shown and kind == OPERATION)
            if not allowed:
                found.append(f"{module} -> {imported}")
    return found


class TestFolders:
    def test_operations_never_render_and_nobody_uses_the_command_of_another(self) -> None:
        assert upward(ROOT / "checkout_cli") == []

    @pytest.mark.parametrize(
        ("module", "imported"),
        [
            ("commands/cleanup/expired.py", "checkout_cli.commands.cleanup.view"),
            ("commands/cleanup/expired.py", "checkout_cli.terminal.output"),
            ("commands/cleanup/expired.py", "rich"),
            ("commands/cleanup/view.py", "typer"),
            ("commands/sync/command.py", "checkout_cli.commands.cleanup.command"),
        ],
    )
    def test_such_an_import_would_be_noticed(self, module: str, imported: str, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "checkout_cli", tmp_path / "checkout_cli", ignore=shutil.ignore_patterns("__pycache__"))
        path = tmp_path / "checkout_cli" / module
        path.write_text(path.read_text(encoding="utf-8") + f"\nimport {imported}\n", encoding="utf-8")
        place = str(path.parents[2])
        script = f"from pathlib import Path; from tests.test_imports import upward; print(upward(Path({place!r})))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        name = module.removesuffix(".py").replace("/", ".")
        assert f"checkout_cli.{name} -> {imported}" in done.stdout


class TestCommandFiles:
    @pytest.mark.parametrize(
        "path",
        sorted(
            file
            for pattern in ("cli/*.py", "commands/*.py", "commands/*/*command.py", "commands/*/__init__.py")
            for file in (ROOT / "checkout_cli").glob(pattern)
        ),
        ids=lambda path: f"{path.parent.name}/{path.name}",
    )
    def test_nothing_heavy_is_imported_at_the_top_of_a_command(self, path: Path) -> None:
        tops = re.findall(r"^(?:from|import) (checkout_cli[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        light = {"checkout_cli", "checkout_cli.arguments", "checkout_cli.errors", "checkout_cli.commands.record"}
        rooms = ("checkout_cli.cli.", "checkout_cli.arguments.")
        assert [
            name for name in tops if name not in light and not name.startswith(rooms) and not name.endswith("command")
        ] == []
