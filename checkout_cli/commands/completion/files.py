"""Where each shell looks for completions by itself, and putting a file there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from checkout_cli.commands.completion.scripts import Shell
from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.files.atomic_file import write_atomically
from checkout_cli.typed import typed

_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/checkoutctl"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/checkoutctl.fish"),
}
"""The variable of a directory, its place below the home directory, and the file in it."""


@dataclass(frozen=True)
class Installation:
    """A file that a shell would read; ``hint`` is what else is needed."""

    JSON_KEYS = "shell path current next?=hint"

    shell: Shell
    path: Path
    content: str
    hint: str = ""

    @property
    def current(self) -> bool:
        """Whether the very same file is there."""
        try:
            return self.path.read_text(encoding="utf-8") == self.content
        except (OSError, UnicodeDecodeError):
            return False


def usual_shell(environ: Mapping[str, str]) -> Shell:
    """The user's own shell; raises ``InvalidInput`` where there are no completions for it."""
    name = Path(environ.get("SHELL", "")).name
    if name not in get_args(Shell):
        raise InvalidInput(f"no completions for {name or 'a shell that is not named'}", hint="--shell bash")
    return cast("Shell", name)


def installation(shell: Shell, content: str, environ: Mapping[str, str]) -> Installation:
    """The file in its place, below the user's own directories (XDG Base Directory Specification)."""
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError as error:
        hint = typed("checkoutctl completion show {} > FILE", shell)
        raise CheckoutError("there is no home directory to install completions in", hint=hint) from error
    if shell == "zsh":
        directory = home / ".zfunc"
        hint = f"in ~/.zshrc, before compinit: fpath=({directory} $fpath)"
        return Installation(shell, directory / "_checkoutctl", content, hint)
    variable, usual, place = _PLACES[shell]
    return Installation(shell, Path(environ.get(variable) or home / usual) / place, content)


def install(wanted: Installation) -> None:
    """Write the file, whole or not at all; raises ``CheckoutError`` where it cannot be written."""
    try:
        write_atomically(wanted.path, wanted.content.encode(), public=True)
    except OSError as error:
        raise CheckoutError(
            f"{wanted.path} cannot be written: {error.strerror}",
            hint=typed("checkoutctl completion show {} > FILE", wanted.shell),
        ) from error
