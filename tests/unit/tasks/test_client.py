# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `client` on a simulated host: round trips, results, failures of steps, secrets."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import itertools
import json
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import fingerprint_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client import ClientOptions, set_up_client
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_comparison import DesiredClient
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import RunScript
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import CheckOptions
from tests.samples.client_host import ClientHost, section
from tests.samples.facts import shipped
from tests.samples.replay import ConnectionLost, Replay

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
OTHER = "0cc175b9c0f1b6a831c399e269772661"
PRO_TOKEN = "C1234567890abcdefghijkABCDEFG"
SALT = "ab" * 16
PASSWORD = "made-up-password"
PROXY = f"http://fleet:{PASSWORD}@proxy.example.com:3128"
CHECK = CheckOptions(host="web1", policy=shipped("launch"), collector=Collector(collection="2", ansible_core="2.21"))
WITHOUT_CLIENT = ClientHost(installed=False, enabled=False, loaded=None)
DISABLED = ClientHost(enabled=False, loaded=None)
KNOWN = {"token": str(fingerprint_of(TOKEN, SALT))}
ENABLED = ClientHost(fingerprints=KNOWN)


def options(
    config: dict[str, t.Any] | None = None, check_mode: bool = False, diff: bool = False, **desired: t.Any
) -> ClientOptions:
    wait_seeded, retry_timeout = desired.pop("wait_seeded", 300), desired.pop("retry_timeout", 120)
    return ClientOptions(
        check=CHECK,
        desired=DesiredClient(**{"token": TOKEN, **desired}),
        config=config or {},
        make_salt=lambda: SALT,
        wait_seeded=wait_seeded,
        retry_timeout=retry_timeout,
        check_mode=check_mode,
        diff=diff,
    )


def run(host: ClientHost, wanted: ClientOptions) -> tuple[dict[str, t.Any], Replay]:
    replay = Replay(host.script)
    return replay.run(set_up_client(wanted)), replay


def failure(script: c.Callable[[RunScript], t.Any], wanted: ClientOptions) -> dict[str, t.Any]:
    """Return the failed result of the task."""
    with pytest.raises(LivepatchError) as caught:
        Replay(script).run(set_up_client(wanted))
    result = caught.value.as_result()
    assert result["remedy"]
    return result


def ids(result: dict[str, t.Any]) -> list[str]:
    return [step["id"] for step in result["steps"]]


# --- round trips ---


def test_a_host_without_differences_is_only_read() -> None:
    result, replay = run(ENABLED.change(), options())
    assert [command.parts for command in replay.scripts] == [("probe", "client_read")]
    assert (result["changed"], result["steps"], result["round_trips"]) == (False, [], 1)
    assert result["enabled"] is True
    assert result["before"] == result["after"]
    assert result["version"] == "10.8.3"


def test_a_change_takes_one_more_round_trip() -> None:
    host = WITHOUT_CLIENT.change()
    result, replay = run(host, options())
    assert [command.parts for command in replay.scripts] == [
        ("probe", "client_read"),
        ("probe", "client_read", "client_write"),
    ]
    assert host.performed == ids(result) == ["install", "enable"]
    assert (result["changed"], result["enabled"], result["round_trips"]) == (True, True, 2)
    assert result["token_transport"] == "socket"
    assert host.token == TOKEN


@pytest.mark.parametrize("state", ["enabled", "present"])
def test_a_client_that_is_slow_is_asked_again(state: str) -> None:
    """Its settings are unknown before the change, and then after it."""
    host = ENABLED.change(config={"check-interval": "60"}, slow_answers=1)
    result, replay = run(host, options({"check-interval": 60}, state=state))
    assert (result["changed"], len(replay.scripts)) == (False, 2)
    host, parts = DISABLED.change(), []

    def answer(command: RunScript) -> Sections:
        parts.append(command.parts)
        host.slow_answers = int("client_write" in command.parts)
        return host.script(command)

    changed = Replay(answer).run(set_up_client(options({"check-interval": 120}, state=state)))
    assert changed["after"]["config"] == {"check-interval": "120"}
    assert (changed["changed"], len(parts)) == (True, 3)


def test_settings_that_stay_unknown_are_a_failure() -> None:
    host = DISABLED.change(slow_answers=1000)
    found = failure(host.script, options({"check-interval": 120}))
    assert found["error_id"] == "not_confirmed"


def test_a_snap_comes_from_files_on_the_host() -> None:
    host = WITHOUT_CLIENT.change()
    result, replay = run(host, options(snap_file="/srv/a b.snap", snap_assertion="/srv/a b.assert"))
    assert host.performed == ids(result) == ["acknowledge", "install_file", "enable"]
    variables = replay.scripts[1].variables
    assert (variables["argument_1"], variables["argument_2"]) == ("/srv/a b.assert", "/srv/a b.snap")


def test_a_disabled_snap_is_enabled_and_not_installed() -> None:
    host = WITHOUT_CLIENT.change(snap_disabled=True)
    result, _replay = run(host, options())
    assert host.performed == ids(result) == ["snap_enable", "enable"]
    assert result["before"]["state"] == "disabled"


@pytest.mark.parametrize(
    "wanted",
    [
        {"snap_file": "a.snap"},
        {"snap_file": "/srv/a.snap\n/srv/b.snap"},
        {"snap_file": "/srv/"},
        {"snap_file": ""},
        {"snap_file": "/srv/a.snap", "snap_assertion": "a.assert"},
        {"snap_assertion": "/srv/a.assert"},
        {"snap_file": "/srv/a.snap", "channel": "edge"},
    ],
)
def test_files_of_a_snap_are_checked_before_the_host(wanted: dict[str, t.Any]) -> None:
    replay = Replay(WITHOUT_CLIENT.change().script)
    with pytest.raises(LivepatchError) as caught:
        replay.run(set_up_client(options(**wanted)))
    assert (caught.value.id, replay.scripts) == ("snap_file_invalid", [])
    assert caught.value.remedy


def test_the_second_round_trip_checks_no_network() -> None:
    _result, replay = run(DISABLED.change(), options())
    assert [command.variables["network"] for command in replay.scripts] == ["1", ""]
    assert [command.variables["verify"] for command in replay.scripts] == ["", ""]


def test_a_repeated_run_changes_nothing() -> None:
    host = WITHOUT_CLIENT.change()
    wanted = options({"https-proxy": PROXY, "check-interval": 120}, mode="no-apply", channel="10.x")
    first, _replay = run(host, wanted)
    assert ids(first) == ["install", "mode", "config", "config", "enable"]
    again, replay = run(host, wanted)
    assert (again["changed"], len(replay.scripts)) == (False, 1)
    assert again["before"] == first["after"]


def test_check_mode_reads_and_predicts_the_run() -> None:
    host = WITHOUT_CLIENT.change()
    wanted = options({"check-interval": 120}, mode="no-apply", diff=True)
    predicted, replay = run(host, dataclasses.replace(wanted, check_mode=True))
    assert (len(replay.scripts), host.performed) == (1, [])
    done, _replay = run(host, wanted)
    for key in ("changed", "steps", "enabled", "before", "after", "diff", "eligibility"):
        assert predicted[key] == done[key]
    assert done["diff"] == {"before": done["before"], "after": done["after"]}


def test_a_changed_token_replaces_the_registration() -> None:
    host = ENABLED.change()
    result, _replay = run(host, options(token=OTHER))
    assert ids(result) == ["disable", "enable"]
    assert (host.token, result["before"]["token"], result["after"]["token"]) == (OTHER, "other", "given")


def test_a_client_of_unknown_token_is_adopted() -> None:
    host = ClientHost()
    result, _replay = run(host, options())
    assert (ids(result), host.fingerprints, host.token) == (["adopt"], KNOWN, None)
    assert "token_transport" not in result
    assert run(host, options(token=OTHER))[0]["before"]["token"] == "other"


def test_ubuntu_pro_attaches_and_enables() -> None:
    host = DISABLED.change()
    result, replay = run(host, options(token=PRO_TOKEN, via="pro"))
    assert replay.scripts[0].variables["pro"] == "1"
    assert (ids(result), host.attached, host.token) == (["pro_attach"], True, PRO_TOKEN)
    disabled, _replay = run(host, options(token=PRO_TOKEN, via="pro", state="disabled"))
    assert (ids(disabled), host.attached) == (["pro_disable"], True)
    enabled, _replay = run(host, options(token=PRO_TOKEN, via="pro"))
    assert ids(enabled) == ["pro_enable"]


def test_an_attached_machine_of_unknown_token_is_adopted() -> None:
    host = DISABLED.change(attached=True)
    result, _replay = run(host, options(token=PRO_TOKEN, via="pro"))
    assert ids(result) == ["pro_enable", "adopt"]
    assert run(host, options(token=PRO_TOKEN, via="pro"))[0]["changed"] is False


def test_the_channel_is_read_only_if_set() -> None:
    _result, replay = run(ENABLED.change(), options())
    _result, with_channel = run(ENABLED.change(), options(channel="stable"))
    assert [each.scripts[0].variables["channel"] for each in (replay, with_channel)] == ["", "1"]


def test_the_server_of_the_settings_is_checked() -> None:
    _result, replay = run(ENABLED.change(), options({"remote-server": "https://livepatch.example.com"}))
    assert replay.scripts[0].variables["server"] == "https://livepatch.example.com"


# --- options and conditions ---


@pytest.mark.parametrize(
    ("wanted", "cause", "text"),
    [
        (options({"remote_server": "https://livepatch.example.com"}), "config_invalid", "did you mean remote-server"),
        (options({"check-interval": 30}), "config_invalid", "at least 60"),
        (options({"cutoff-date": "2026-03-01T04:00:00Z"}), "config_invalid", "not in the past"),
        (options(token=f"{TOKEN} "), "token_malformed", "trim"),
        (options(token=PRO_TOKEN), "token_is_pro", "via: pro"),
        (options(via="pro"), "token_is_livepatch", "via: livepatch"),
    ],
)
def test_invalid_options_fail_before_any_contact(wanted: ClientOptions, cause: str, text: str) -> None:
    def refuse(_command: RunScript) -> t.NoReturn:
        raise AssertionError("the host was contacted")

    result = failure(refuse, wanted)
    assert result["error_id"] == cause
    assert text in result["msg"]
    assert "eligibility" not in result


def test_a_refused_plan_changes_nothing() -> None:
    host = DISABLED.change()
    result = failure(host.script, options(token=None))
    assert (result["error_id"], host.performed) == ("token_missing", [])
    assert result["eligibility"]["verdict"] == "eligible"


def test_an_unreachable_server_prevents_enabling() -> None:
    network = section("network", "tool curl\nurl https://livepatch.canonical.com\nproxy no", 7, "connection refused")
    host = ENABLED.change(network=network)
    assert failure(DISABLED.change(network=network).script, options())["error_id"] == "not_eligible"
    assert run(host, options())[0]["changed"] is False
    assert run(DISABLED.change(network=network), options(require_eligible=False))[0]["changed"] is True


def test_the_service_is_asked_on_request() -> None:
    wanted = dataclasses.replace(options(), check=dataclasses.replace(CHECK, ask_server=True))
    replay = Replay(ENABLED.change().script)
    replay.run(set_up_client(wanted))
    assert len(replay.questions) == 1


# --- incomplete answers ---


def test_an_incomplete_first_answer_fails_without_changes() -> None:
    host = ENABLED.change(installed=False, enabled=False)
    result = failure(lambda _command: host.answer(complete=False), options())
    assert result["error_id"] == "interrupted"
    assert host.performed == []


def test_a_lost_connection_ends_the_task() -> None:
    for lost in (1, 2):
        host, calls = DISABLED.change(), itertools.count(1)

        def script(command: RunScript, host: ClientHost = host, lost: int = lost, calls: t.Any = calls) -> t.Any:
            return ConnectionLost() if next(calls) == lost else host.script(command)

        with pytest.raises(ConnectionLost):
            Replay(script).run(set_up_client(options()))


# --- failures of steps ---


@dataclasses.dataclass
class FailingHost:
    """A host on which the plan ends at a step. `ended` is the section of that step, None if there is none."""

    host: ClientHost
    number: int
    ended: Section | None = None
    complete: bool = True

    def script(self, command: RunScript) -> Sections:
        variables = dict(command.variables)
        if "steps" not in variables:
            return self.host.answer()
        variables["steps"] = " ".join(variables["steps"].split()[: self.number - 1])
        done = self.host.execute(variables)
        return self.host.answer(*done, *([self.ended] if self.ended else []), complete=self.complete)


@pytest.mark.parametrize(
    ("ended", "complete", "cause"),
    [
        (section("step 2", "", 1, "error executing enable: Unknown Auth-Token"), True, "bad_token"),
        (section("step 2", "", 1, "bad server status 503"), True, "server_error"),
        (section("step 2", "", 1, "something new"), True, "client_failed"),
        (Section("step 2", "timeout", exit_code=124), True, "timed_out"),
        (Section("step 2", "lost"), False, "interrupted"),
        (None, False, "interrupted"),
        (None, True, "interrupted"),
    ],
)
def test_a_failed_step_ends_the_run(ended: Section | None, complete: bool, cause: str) -> None:
    failing = FailingHost(WITHOUT_CLIENT.change(), 2, ended, complete)
    result = failure(failing.script, options(diff=True, retry_timeout=0))
    assert (result["error_id"], result["failed_step"], ids(result)) == (cause, "enable", ["install"])
    assert (result["changed"], result["enabled"], result["round_trips"]) == (True, False, 2)
    assert result["before"]["state"] == "absent"
    assert result["after"]["state"] == result["diff"]["after"]["state"] == "disabled"
    assert "eligibility" in result
    assert result["msg"].startswith("Step 'enable' (enable the client with the token) failed: ")
    assert "1 of 2 steps are complete, and the client is not enabled. " in result["msg"]


def test_a_first_step_that_fails_changes_nothing() -> None:
    failing = FailingHost(ENABLED.change(), 1, section("step 1", "", 1, "daemon shutting down"))
    result = failure(failing.script, options({"log-level": "debug"}, retry_timeout=0))
    assert (result["error_id"], result["changed"], result["steps"]) == ("daemon_shutting_down", False, [])
    assert result["after"] == result["before"]
    assert "diff" not in result


def test_the_next_run_completes_the_steps() -> None:
    host = WITHOUT_CLIENT.change()
    failure(FailingHost(host, 2, Section("step 2", "lost"), complete=False).script, options())
    assert ids(run(host, options())[0]) == ["enable"]


def test_an_incomplete_answer_after_all_steps_fails() -> None:
    result = failure(FailingHost(DISABLED.change(), 2, complete=False).script, options())
    assert (result["error_id"], result["failed_step"]) == ("interrupted", None)
    assert result["enabled"] is True
    assert result["msg"].startswith("The answer of the host is incomplete. 1 of 1 steps are complete")


def test_an_ineffective_step_is_not_confirmed() -> None:
    host = ENABLED.change()
    result = failure(lambda _command: host.answer(section("step 1")), options({"log-level": "debug"}))
    assert (result["error_id"], result["failed_step"], ids(result)) == ("not_confirmed", None, ["config"])
    assert "set log-level to 'debug'" in result["msg"]
    assert result["after"]["config"] == {"log-level": "warning"}


def test_an_unplannable_host_has_no_final_state() -> None:
    host = DISABLED.change()

    def script(command: RunScript) -> Sections:
        answer = host.script(command)
        host.user = "1000"
        return answer if "steps" not in command.variables else host.answer(section("step 1", "transport curl"))

    result = failure(script, options(diff=True))
    assert (result["error_id"], result["after"], result["diff"]["after"]) == ("not_confirmed", None, {})
    assert "does not run as root" in result["msg"]


def test_snapd_that_stays_uninitialized_is_named() -> None:
    host = WITHOUT_CLIENT.change()

    def script(command: RunScript) -> Sections:
        ended = [Section("step 1", "timeout", exit_code=124)] if "steps" in command.variables else []
        probe = [each for each in host.answer().values() if each.name != "seeded"]
        return Sections([*ended, *probe, Section("seeded", "timeout", exit_code=124)], complete=True)

    result = failure(script, options(wait_seeded=7))
    assert (result["error_id"], result["failed_step"]) == ("not_seeded", "seeded")
    assert "not within 7 s" in result["msg"]


@pytest.mark.parametrize(("given", "sent"), [(300, "300"), (0, "1"), (-5, "1")])
def test_snapd_gets_at_least_one_second(given: int, sent: str) -> None:
    _result, replay = run(WITHOUT_CLIENT.change(), options(wait_seeded=given))
    assert replay.scripts[1].variables["wait"] == sent


def test_the_deadline_covers_the_steps() -> None:
    """Each step has its own limit on the host, and snapd may need `wait_seeded` for several of them."""
    assert [command.extra_seconds for command in run(ENABLED, options())[1].scripts] == [60]
    assert run(ENABLED.change(), options({"log-level": "debug"}))[1].scripts[1].extra_seconds == 60 + 180
    installing = run(WITHOUT_CLIENT.change(), options(wait_seeded=50))[1].scripts[1]
    assert installing.variables["steps"] == "install enable"
    assert installing.extra_seconds == 60 + 50 + 660 + 360


# --- temporary failures ---

TEMPORARY = {
    "server_error": ("enable", "bad server status 503 (URL: https://livepatch.example.com/api/machine-tokens): sorry"),
    "daemon_shutting_down": ("enable", "livepatchd error: daemon shutting down"),
    "store_error": ("install", "got unexpected HTTP status code 503 via POST to https://api.snapcraft.io/v2/snaps/x"),
    "snap_busy": ("install", 'error: snap "canonical-livepatch" has "auto-refresh" change in progress'),
    "not_seeded": ("install", "error: too early for operation, device not yet seeded"),
}
TEMPORARY_WITH_PRO = {
    "pro_busy": ("pro_attach", "Unable to perform: pro attach. Operation in progress: pro refresh (pid:7)"),
    "contract_server_error": ("pro_attach", "Error connecting to https://contracts.canonical.com/v1/x: 503 sorry"),
    "apt_locked": ("pro_attach", "APT install failed. Another process is running APT."),
}


@pytest.mark.parametrize("cause", [*TEMPORARY, *TEMPORARY_WITH_PRO])
def test_a_temporary_failure_is_repeated(cause: str) -> None:
    step, text = {**TEMPORARY, **TEMPORARY_WITH_PRO}[cause]
    wanted = options(token=PRO_TOKEN, via="pro") if cause in TEMPORARY_WITH_PRO else options()
    host = WITHOUT_CLIENT.change(faults={step: [text, text]})
    result, replay = run(host, wanted)
    assert host.performed.count(step) == 3
    assert (ids(result), replay.sleeps) == (
        ["install", "pro_attach" if wanted.desired.via == "pro" else "enable"],
        [2, 4],
    )
    assert (result["enabled"], result["round_trips"], len(replay.scripts)) == (True, 4, 4)
    assert result["before"]["state"] == "absent"


@pytest.mark.parametrize("cause", [*TEMPORARY, *TEMPORARY_WITH_PRO])
def test_a_temporary_failure_ends_at_the_deadline(cause: str) -> None:
    step, text = {**TEMPORARY, **TEMPORARY_WITH_PRO}[cause]
    pro = {"token": PRO_TOKEN, "via": "pro"} if cause in TEMPORARY_WITH_PRO else {}
    for seconds, attempts in ((30, 6), (0, 1)):
        host = WITHOUT_CLIENT.change(faults={step: [text] * 99})
        replay = Replay(host.script)
        with pytest.raises(LivepatchError) as caught:
            replay.run(set_up_client(options(retry_timeout=seconds, **pro)))
        assert (caught.value.id, caught.value.details["failed_step"]) == (cause, step)
        assert (sum(replay.sleeps), host.performed.count(step)) == (seconds, attempts)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Could not retrieve client information.: unauthorized", "bad_token"),
        ("bad server status 403", "server_refused"),
        ("x509: certificate signed by unknown authority", "tls_untrusted"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "server_unreachable"),
        ("something new", "client_failed"),
    ],
)
def test_a_refusal_is_not_repeated(text: str, cause: str) -> None:
    host = DISABLED.change(faults={"enable": [text]})
    replay = Replay(host.script)
    with pytest.raises(LivepatchError) as caught:
        replay.run(set_up_client(options()))
    assert (caught.value.id, replay.sleeps, host.performed) == (cause, [], ["enable"])
    assert text in caught.value.message


def test_an_attempt_does_only_the_remaining_steps() -> None:
    host = ENABLED.change(faults={"enable": ["status 503"]})
    result, replay = run(host, options({"check-interval": 120}, token=OTHER))
    assert [script.variables.get("steps") for script in replay.scripts] == [None, "disable config enable", "enable"]
    assert (ids(result), host.token) == (["disable", "config", "enable"], OTHER)


def test_a_refused_pro_token_has_the_remedy_of_pro() -> None:
    text = "Unable to enable Livepatch: Message: Could not retrieve client information.: unauthorized"
    host = DISABLED.change(attached=True, faults={"pro_enable": [text]})
    result = failure(host.script, options(token=PRO_TOKEN, via="pro"))
    assert (result["error_id"], "pro refresh" in result["remedy"]) == ("bad_token", True)
    host = DISABLED.change(faults={"enable": [text]})
    assert "https://ubuntu.com/livepatch" in failure(host.script, options())["remedy"]


def test_a_busy_machine_that_was_attached_meanwhile_is_enabled() -> None:
    host = DISABLED.change(faults={"pro_attach": ["Operation in progress: pro attach (pid:7)"]})
    first = host.script

    def script(command: RunScript) -> Sections:
        answer = first(command)
        if "pro_attach" in host.performed and not host.attached:
            # The other operation ends during the pause.
            host.attached = True
            host.faults = {"pro_attach": ["This machine is already attached to 'fleet'"]}
        return answer

    replay = Replay(script)
    result = replay.run(set_up_client(options(token=PRO_TOKEN, via="pro")))
    assert (ids(result), host.enabled) == (["pro_enable", "adopt"], True)


# --- clients that do not work ---

STALE_TEXT = "livepatchd error: The platform Ubuntu 15.10 is not supported."


@pytest.mark.parametrize("enabled", [True, False])
def test_a_stale_client_fails_until_it_is_installed_again(enabled: bool) -> None:
    host = ENABLED.change(errors=STALE_TEXT, enabled=enabled)
    for _run in range(2):
        result = failure(host.script, options())
        assert (result["error_id"], host.performed) == ("platform_stale", [])
        assert "reinstall: true" in result["remedy"]
        assert "kernel_supported" not in str(
            [check for check in result["eligibility"]["checks"] if check["status"] == "fail"]
        )
    repaired, _replay = run(host, options(reinstall=True))
    assert (ids(repaired), repaired["enabled"]) == (["remove", "install", "enable"], True)
    again, replay = run(host, options(reinstall=True))
    assert (again["changed"], len(replay.scripts)) == (False, 1)


def test_a_new_snap_that_does_not_work_either_fails() -> None:
    host = ENABLED.change(errors=STALE_TEXT)

    def script(command: RunScript) -> Sections:
        done = host.execute(command.variables)
        host.errors = STALE_TEXT
        return host.answer(*done)

    result = failure(script, options(reinstall=True))
    assert (result["error_id"], host.performed) == ("platform_stale", ["remove", "install", "enable"])


def test_a_client_that_dies_when_it_is_enabled_fails() -> None:
    host = DISABLED.change()

    def script(command: RunScript) -> Sections:
        done = host.execute(command.variables)
        if done:
            host.errors = "Connection to the daemon failed: dial unix x"
        return host.answer(*done)

    result = failure(script, options())
    assert (result["error_id"], result["failed_step"], ids(result)) == ("daemon_down", None, ["enable"])


def test_a_client_that_applies_its_first_patch_is_awaited() -> None:
    host, calls = DISABLED.change(), itertools.count(1)

    def script(command: RunScript) -> Sections:
        answer = host.script(command)
        hanging = Section("status json", "timeout", exit_code=124)
        busy = next(calls) in (2, 3, 4)
        return Sections([*answer.values(), *([hanging] if busy else [])], complete=True)

    replay = Replay(script)
    result = replay.run(set_up_client(options()))
    assert (result["enabled"], ids(result), len(replay.scripts)) == (True, ["enable"], 5)
    assert sum(replay.sleeps) < 10


def test_a_client_that_hangs_is_no_success() -> None:
    host = ENABLED.change()

    def script(command: RunScript) -> Sections:
        hanging = Section("status json", "timeout", exit_code=124)
        return Sections([*host.script(command).values(), hanging], complete=True)

    assert failure(script, options())["error_id"] == "timed_out"


def test_a_daemon_that_is_stopping_is_awaited() -> None:
    host, calls = ENABLED.change(), itertools.count(1)

    def script(command: RunScript) -> Sections:
        host.errors = "livepatchd error: daemon shutting down" if next(calls) < 3 else ""
        return host.script(command)

    replay = Replay(script)
    assert replay.run(set_up_client(options()))["changed"] is False
    assert len(replay.scripts) == 3


def test_a_mode_of_the_kernel_command_line_is_reported() -> None:
    host = ENABLED.change(kernel_mode="canonical_livepatch_mode=no-apply")
    result, _replay = run(host, options())
    assert (result["changed"], result["before"]["mode"]) == (False, "no-apply")
    result = failure(host.script, options(mode="normal"))
    assert (result["error_id"], host.performed) == ("mode_on_command_line", [])


# --- secrets ---


def written(host: ClientHost, wanted: ClientOptions) -> RunScript:
    """Return the command of the second round trip."""
    return run(host, wanted)[1].scripts[1]


@pytest.mark.parametrize(
    ("host", "wanted", "secret"),
    [
        (DISABLED, options(), True),
        (ClientHost(), options(), True),
        (DISABLED, options(token=PRO_TOKEN, via="pro"), True),
        (ENABLED, options({"https-proxy": PROXY}), True),
        (ENABLED, options({"https-proxy": "http://proxy.example.com:3128"}), False),
        (ENABLED, options(state="disabled"), False),
        (ENABLED, options(state="absent"), False),
        (ENABLED, options(mode="no-apply"), False),
    ],
)
def test_only_steps_with_secrets_need_standard_input(host: ClientHost, wanted: ClientOptions, secret: bool) -> None:
    command = written(host.change(), wanted)
    assert command.secret is secret
    steps = set(command.variables["steps"].split())
    assert ("token" in command.variables) is bool(steps & {"enable", "pro_attach"})


def test_each_secret_gets_a_salt_of_its_own() -> None:
    salts = iter(["0" * 32, "1" * 32])
    wanted = dataclasses.replace(options({"https-proxy": PROXY}), make_salt=lambda: next(salts))
    variables = written(DISABLED.change(), wanted).variables
    assert variables["steps"] == "config enable"
    assert variables["fingerprint_1"] == str(fingerprint_of(PROXY, "0" * 32))
    assert variables["fingerprint_2"] == str(fingerprint_of(TOKEN, "1" * 32))
    assert variables["value_1"] == PROXY
    assert (variables["argument_1"], variables["argument_2"]) == ("https-proxy", "")


def test_results_have_no_secrets() -> None:
    host = WITHOUT_CLIENT.change()
    done, _replay = run(host, options({"https-proxy": PROXY}, diff=True))
    failed = failure(FailingHost(WITHOUT_CLIENT.change(), 3).script, options({"https-proxy": PROXY}, diff=True))
    for result in (done, failed):
        text = json.dumps(result)
        assert TOKEN not in text
        assert PASSWORD not in text


@pytest.mark.parametrize(
    ("transport", "tools", "sent", "used"),
    [
        ("auto", ("curl", "nc"), "curl nc cli", "socket"),
        ("auto", (), "cli", "cli"),
        ("socket", ("nc",), "nc", "socket"),
        ("cli", ("curl",), "cli", "cli"),
    ],
)
def test_the_transport_of_the_token_is_returned(transport: str, tools: tuple[str, ...], sent: str, used: str) -> None:
    host = DISABLED.change(tools=tools)
    result, replay = run(host, options(transport=transport))
    assert replay.scripts[1].variables["transports"] == sent
    assert result["token_transport"] == used
