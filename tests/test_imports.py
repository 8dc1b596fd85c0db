from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

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
        assert "checkout_cli.cli.cleanup" in modules
        assert modules.isdisjoint({"checkout_cli.cli.sessions", "checkout_cli.cli.health", "checkout_cli.cli.config"})

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
            ("store/breaker.py", "import checkout_cli.render.safe", "Imports point down"),
            ("store/breaker.py", "import checkout_cli.domain", "Imports point down"),
            ("operations/cleanup.py", "import checkout_cli.cli.context", "Imports point down"),
            ("errors.py", "import checkout_cli.settings", "Imports point down"),
            ("store/memory_tier.py", "import checkout_cli.store.database_tier", "Tiers know nothing of each other"),
            ("store/protocol/trust.py", "import redis", "The store's protocol does no I/O"),
            ("store/protocol/row.py", "import checkout_cli.store.database_tier", "The store's protocol does no I/O"),
            ("store/protocol/value.py", "import time", "The store's protocol does no I/O"),
            ("operations/cleanup.py", "import rich", "Operations, the domain and the store never render"),
            ("store/breaker.py", "import typer", "Operations, the domain and the store never render"),
            ("cli/cleanup.py", "import redis", "Commands hold no Redis, SQL or Rich"),
            ("cli/cleanup.py", "import sqlalchemy", "Commands hold no Redis, SQL or Rich"),
        ],
    )
    def test_a_forbidden_import_breaks_one(self, module: str, statement: str, contract: str, copy: Path) -> None:
        path = copy / "checkout_cli" / module
        path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
        done = lint_imports(copy)
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(rf"^{contract}.* BROKEN$", done.stdout, re.MULTILINE)


class TestCommandFiles:
    @pytest.mark.parametrize("path", sorted((ROOT / "checkout_cli" / "cli").glob("*.py")), ids=lambda path: path.name)
    def test_nothing_heavy_is_imported_at_the_top_of_a_command(self, path: Path) -> None:
        light = {"checkout_cli", "checkout_cli.cli", "checkout_cli.errors"}
        tops = re.findall(r"^(?:from|import) (checkout_cli[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert [name for name in tops if name not in light and not name.startswith("checkout_cli.cli.")] == []
