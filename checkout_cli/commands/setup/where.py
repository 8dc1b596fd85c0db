"""Where Redis and the database are: what a person says, and what is assumed where nobody says anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checkout_cli.config.redis_url import checked_url, parts_of
from checkout_cli.config.variables import Resolved
from checkout_cli.errors import InvalidInput
from checkout_cli.files.env_file import EnvFilePlan, parsed
from checkout_cli.typed import typed

USUAL = "redis://localhost:6379/0"
_REDIS = ("redis_host", "redis_port", "redis_url", "redis_socket", "redis_sentinels", "redis_cluster_nodes")


def is_redis_unknown(settings: Mapping[str, Resolved]) -> bool:
    """Whether neither a flag, a variable nor a file says where Redis is."""
    return not any(settings[name].is_set for name in _REDIS)


def flagged_url(url: str) -> str:
    """The URL of ``--redis-url``; raises InvalidInput, also where it has a password, which others could read there."""
    try:
        parts = parts_of(url)
    except ValueError as error:
        raise InvalidInput(f"--redis-url {error}", hint=f"checkoutctl setup --redis-url {USUAL}") from None
    if parts.get("redis_password"):
        raise InvalidInput(
            "--redis-url has a password, and other users of this machine can read command lines",
            hint="leave it out of the URL, and put REDIS_PASSWORD into .env.local, or name it by REDIS_PASSWORD_FILE",
        )
    return url


def answered_url(answer: str) -> str:
    """The URL in an answer, which may be a host and a port alone; empty for none. Raises ValueError."""
    answer = answer.strip()
    return checked_url(answer if not answer or "://" in answer else f"redis://{answer}")


def insist_on_writing(plan: EnvFilePlan, url: str) -> None:
    """Raise InvalidInput where the file names Redis by other settings already, which ``url`` would contradict."""
    if parsed(plan.after).get("REDIS_URL") != url:
        raise InvalidInput(
            f"{plan.path.name} or .env says already where Redis is, and set-up changes no line that is there",
            hint=typed("checkoutctl -C {} config show", plan.path.parent)
            + f" says where; to change it, edit {plan.path}",
        )


def assumptions(settings: Mapping[str, Resolved]) -> Iterator[str]:
    """What is used because nothing says otherwise, and how to say otherwise."""
    if is_redis_unknown(settings):
        place = f"{settings['redis_host'].value}:{settings['redis_port'].value}"
        yield f"Redis is at {place} (else: checkoutctl setup --redis-url redis://HOST:PORT/DB)"
    if not settings["database_url"].is_set:
        yield f"the database is {settings['database_url'].shown} (else: DATABASE_URL; a shop wants PostgreSQL)"
