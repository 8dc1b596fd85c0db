from __future__ import annotations

import json
from dataclasses import replace

from checkout_cli.commands.acl.roles import NEWEST, OLDER, PASSWORD, RoleName, rule_of
from checkout_cli.config.settings import Settings
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

AS_READER = {"REDIS_USERNAME": "checkout-reader", "REDIS_PASSWORD": PASSWORD}


def test_without_a_role_all_of_them_are_shown_without_asking_redis(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("acl", env={"REDIS_PORT": "1"})
    assert run.returncode == 0
    assert [line.split()[0] for line in run.stdout.splitlines()[1:]] == ["reader", "operator", "application"]
    assert "memory tune is in no role: CONFIG SET" in run.stderr
    shown = json.loads(checkoutctl("acl", "--json", env={"REDIS_PORT": "1"}).stdout)
    assert [role["role"] for role in shown["roles"]] == ["reader", "operator", "application"]
    assert "memory tune" in shown["inNoRole"]


def test_the_first_line_of_a_role_makes_its_user_on_a_real_server(
    valkey: ValkeyServer, settings: Settings, checkoutctl: Checkoutctl
) -> None:
    run = checkoutctl("acl", "operator", "--user", "night-shift", env={"REDIS_PASSWORD": "hunter2-secret"})
    first = run.stdout.splitlines()[0]
    assert run.returncode == 0
    assert first == rule_of(RoleName.OPERATOR, settings, "night-shift").command()
    assert "hunter2" not in run.stdout + run.stderr
    assert "without +config|get: shows the server's own passwords" in run.stderr
    assert "SCAN lists the names of all keys" in run.stderr
    with valkey.client() as client:
        client.execute_command(*first.split())
        try:
            done = checkoutctl("acl", "check", env={"REDIS_USERNAME": "night-shift", "REDIS_PASSWORD": PASSWORD})
        finally:
            client.acl_deluser("night-shift")
    assert done.returncode == 0, done.stdout
    assert "commands of the role operator work in full" in done.stderr


def test_all_forms_of_a_rule_are_in_the_json(settings: Settings, checkoutctl: Checkoutctl) -> None:
    rule = rule_of(RoleName.READER, settings)
    shown = json.loads(checkoutctl("acl", "reader", "--json").stdout)
    assert shown["setuser"] == rule.command(NEWEST)
    assert shown["aclFile"] == rule.line(NEWEST)
    assert shown["olderServers"]["7.0"] == {"setuser": rule.command(OLDER), "aclFile": rule.line(OLDER)}
    assert "%R" not in shown["olderServers"]["6.2"]["setuser"]
    assert shown["withheld"]["+config|get"]
    text = checkoutctl("acl", "reader").stdout
    assert all(rule.command(version) in text.splitlines() for version in (NEWEST, OLDER, (6, 2)))
    assert rule.line() in text.splitlines()


def test_what_is_missing_is_shown_with_the_line_that_mends_it(
    valkey: ValkeyServer, settings: Settings, checkoutctl: Checkoutctl
) -> None:
    with valkey.client() as client:
        client.execute_command(*rule_of(RoleName.READER, settings).command().split())
        client.execute_command("ACL SETUSER", "checkout-reader", "-dbsize", "-zrevrank")
        try:
            run = checkoutctl("acl", "check", "--role", "reader", env=AS_READER)
            shown = json.loads(checkoutctl("acl", "check", "--role", "reader", "--json", env=AS_READER).stdout)
        finally:
            client.acl_deluser("checkout-reader")
    lines = {line.partition("  ")[0]: line.split()[-2:] for line in run.stdout.splitlines()}
    assert run.returncode == 1
    assert lines["sessions list"] == ["fails", "+zrevrank"]
    assert lines["memory families"] == ["partly", "+dbsize"]
    assert run.stdout.splitlines()[-1] == "ACL SETUSER checkout-reader +dbsize +zrevrank"
    assert shown["setuser"] == "ACL SETUSER checkout-reader +dbsize +zrevrank"
    assert (shown["complete"], shown["missing"]) == (False, ["+dbsize", "+zrevrank"])
    assert {one["state"] for one in shown["commands"]} == {"works", "partly", "fails"}


def test_without_transactions_it_says_what_it_cannot_tell(
    valkey: ValkeyServer, settings: Settings, checkoutctl: Checkoutctl
) -> None:
    with valkey.client() as client:
        client.execute_command(*rule_of(RoleName.OPERATOR, settings, "checkout-reader").command().split(), "-multi")
        try:
            run = checkoutctl("acl", "check", env=AS_READER)
        finally:
            client.acl_deluser("checkout-reader")
    assert run.returncode == 1
    assert "grant +multi +discard to know" in run.stderr
    assert "unknown" in run.stdout


def test_a_wrong_password_exits_4_and_no_server_69(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    denied = checkoutctl("acl", "check", env={"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "wrong"})
    assert (denied.returncode, denied.stdout) == (4, "")
    assert "wrong" not in denied.stderr.replace("wrong username", "").replace("WRONGPASS", "")
    away = checkoutctl("acl", "check", env={"REDIS_PORT": "1"})
    assert (away.returncode, away.stdout) == (69, "")


def test_bad_input_is_a_usage_error_in_one_line(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("acl", "reader", "--user", "two words")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[0] == "error: not a name for a user: 'two words'"
    assert checkoutctl("acl", "check", "--role", "root").returncode == 2


def test_the_rule_fits_the_settings(checkoutctl: Checkoutctl, settings: Settings) -> None:
    run = checkoutctl("acl", "reader", env={"REDIS_DB": "2"})
    assert run.stdout.splitlines()[0] == rule_of(RoleName.READER, replace(settings, redis_db=2)).command()
    assert "+select" in run.stdout
