from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from core import log
from core.log_levels import Levels
from core.log_sinks import LogSink
from core.plugin import logger
from core.security import Secret
from core.settings import LogSettings


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    log.configure(LogSettings())  # which takes levels back that were given
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before
    logging.getLogger().setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_where_no_terminal_is_each_event_is_a_line_of_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings())
    structlog.get_logger().bind(plugin="bacnet").warning("poll_failed", device="bacnet.1", error=OSError("no"))
    captured = capsys.readouterr()
    assert captured.out == ""
    event = json.loads(captured.err)
    assert event.pop("time").endswith("Z")
    assert event == {
        "event": "poll_failed",
        "level": "warning",
        "plugin": "bacnet",
        "device": "bacnet.1",
        "error": "no",
    }


def test_what_is_bound_to_a_request_is_in_each_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(format="json"))
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("a")
        logging.getLogger("some.library").warning("b %s", 1)
    assert [(line["event"], line["request_id"]) for line in lines(capsys)] == [("a", "r1"), ("b 1", "r1")]


def test_a_person_at_a_terminal_reads_text_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    log.configure(LogSettings())
    structlog.get_logger().info("ready", url="http://x")
    assert "ready" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    log.configure(LogSettings())
    structlog.get_logger().info("ready")
    assert "\x1b[" not in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_the_form_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(format="console"))
    structlog.get_logger().info("ready", url="http://x")
    told = capsys.readouterr().err
    assert told.split()[1:] == ["[info", "]", "ready", "url=http://x"]


def test_secrets_never_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    key = Secret("hunter2")
    for form in ("json", "console"):
        log.configure(LogSettings(format=form))
        logger = structlog.get_logger()
        logger.info("a", key=key, inner={"list": [key]}, password="hunter2", headers={"X-API-Key": "hunter2"})
        text = f"b {key}"
        logger.info(text, url="mqtt://me:hunter2@host")
        logging.getLogger("some.library").warning("c %s", key)
    told = capsys.readouterr().err
    assert "hunter2" not in told
    assert told.count("***") >= 10


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_in_what_an_exception_says_is_blacked_out(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(format=form))
    error = ValueError("mqtt://me:hunter2@host is gone")
    structlog.get_logger().error("failed", error=error, inner=[error], exc_info=error)
    logging.getLogger("some.library").error("failed too", exc_info=error)
    told = capsys.readouterr().err
    assert "hunter2" not in told
    assert told.count("mqtt://***@host") == 4


def test_a_traceback_is_logged_without_the_values_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("json", "console"):
        log.configure(LogSettings(format=form))
        password = "hunter" + str(len(form))
        try:
            int("x")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("some.library").exception("failed too")
        told = capsys.readouterr().err
        assert told.count("ValueError: invalid literal") == 2
        assert password not in told


def test_levels_hold_for_us_and_for_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(level="warning", format="json"))
    structlog.get_logger().info("no")
    logging.getLogger("some.library").info("no")
    logging.getLogger("some.library").warning("yes")
    assert [line["event"] for line in lines(capsys)] == ["yes"]


@pytest.mark.parametrize("name", log.QUIET)
def test_chatty_libraries_are_heard_from_warnings_on(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)  # whatever the tests before this one left
    monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    log.configure(LogSettings(level="debug", format="json"))
    logging.getLogger(name).info("no")
    logging.getLogger(name).warning("yes")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("yes", name, "warning")


def test_a_plugin_s_processor_sees_each_event_before_it_is_blacked_out(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def add_site(_logger: object, _method: str, event: Any) -> Any:
        seen.append(event["event"])
        if event["event"] == "unwanted":
            raise structlog.DropEvent
        return {**event, "site": "tower", "token": "hunter2"}

    log.configure(LogSettings(format="json"), [add_site])
    structlog.get_logger().info("unwanted")
    structlog.get_logger().info("wanted")
    (line,) = lines(capsys)
    assert seen == ["unwanted", "wanted"]
    assert (line["site"], line["token"]) == ("tower", "***")


def test_a_processor_that_raises_does_not_silence_the_log_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_logger: object, _method: str, event: Any) -> Any:
        event.clear()
        raise RuntimeError("oh")

    log.configure(LogSettings(format="json"), [broken])
    structlog.get_logger().info("one")
    structlog.get_logger().info("two")
    assert [line["event"] for line in lines(capsys)] == ["log_processor_failed", "one", "two"]


def test_configuring_again_does_not_say_everything_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        log.configure(LogSettings(format="json"))
    logging.getLogger("some.library").warning("once")
    assert len(lines(capsys)) == 1


def test_values_that_json_does_not_know_are_written_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(format="json"))
    structlog.get_logger().info("odd", big=2**70, half="\ud800", bytes=b"x", keys={1: 2}, error=ValueError("v"))
    (line,) = lines(capsys)
    assert (line["big"], line["half"], line["bytes"], line["keys"]) == (2**70, "\ud800", "b'x'", {"1": 2})


def test_nobody_is_stopped_by_a_log_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    log.configure(LogSettings(format="json"))
    monkeypatch.setattr(sys, "stderr", Gone())
    structlog.get_logger().info("lost")
    logging.getLogger("some.library").warning("lost")


def test_a_library_s_broken_record_does_not_reach_its_caller(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.configure(LogSettings(format="json"))
    logging.getLogger("some.library").warning("%d", "no number")
    logging.getLogger("some.library").warning("goes on")
    assert [line["event"] for line in lines(capsys)] == ["goes on"]


HOSTILE = "a\x1b[2Jb\x9b2Jc\rd\ne\x00f\x7fg\u2028h\u202ei\u2066j"


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_in_a_line_breaks_it_or_steers_a_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Hostile:
        def __repr__(self) -> str:
            return HOSTILE

    log.configure(LogSettings(format=form))
    structlog.get_logger().info(HOSTILE, text=HOSTILE, thing=Hostile(), inner=[HOSTILE], **{HOSTILE: 1})
    logging.getLogger("some.library").warning("said %s", HOSTILE)
    told = capsys.readouterr().err
    first, second = told.split("\n")[:-1]
    assert all(character.isprintable() for character in first + second)
    assert "\\u001b[2J" in first and "\\u202e" in second
    if form == "json":
        assert json.loads(first)["text"] == HOSTILE
        assert json.loads(second)["event"] == f"said {HOSTILE}"


def test_a_message_with_lines_of_its_own_forges_none_in_a_traceback_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure(LogSettings(format="console"))
    try:
        raise ValueError("x\n2026-01-01T00:00:00Z [info     ] forged\x1b[1m")  # noqa: TRY301
    except ValueError:
        structlog.get_logger().exception("failed")
    first, *traceback = capsys.readouterr().err.splitlines()
    assert "failed" in first
    assert traceback and all(line.startswith("    ") and line.isprintable() for line in traceback)


def test_each_logger_can_have_a_level_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    levels = {"bacnet": "debug", "core": "warning", "some": "debug", "some.loud": "error"}
    log.configure(LogSettings(format="json", levels=levels))
    structlog.get_logger(plugin="bacnet").debug("1")
    structlog.get_logger(plugin="auth").debug("no")
    structlog.get_logger(plugin="auth").info("2")
    structlog.get_logger().info("no")
    structlog.get_logger().warning("3")
    logging.getLogger("some.library").debug("4")
    logging.getLogger("some.loud.one").warning("no")
    assert [line["event"] for line in lines(capsys)] == ["1", "2", "3", "4"]


def test_a_level_changes_for_loggers_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    settings, lasting, library = LogSettings(format="json"), logger("bacnet"), logging.getLogger("some.library")
    levels = Levels(lambda: log.configure(settings, levels=levels))
    log.configure(settings, levels=levels)

    def tell(word: str) -> None:
        lasting.debug(word)
        library.debug(word)

    tell("no")
    levels.set("bacnet", "debug")
    levels.set("some", "debug")
    tell("yes")
    levels.set("bacnet", None)
    levels.set("some", None)
    tell("no more")
    assert [line["event"] for line in lines(capsys)] == ["yes", "yes"]
    assert levels.all() == {"root": "info"}


def test_a_library_that_a_plugin_has_silenced_stays_so_unless_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    silenced = logging.getLogger("bacpypes3")
    log.configure(LogSettings(format="json"))
    silenced.setLevel(logging.CRITICAL + 1)
    log.configure(LogSettings(format="json"))
    silenced.error("no")
    log.configure(LogSettings(format="json", levels={"bacpypes3": "error"}))
    silenced.error("yes")
    assert [line["event"] for line in lines(capsys)] == ["yes"]


@pytest.mark.parametrize(("form", "on_stderr"), [("json", 2), ("console", 2), ("none", 0)])
def test_sinks_get_lines_of_json_whatever_form_stderr_has(
    form: str, on_stderr: int, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[str] = []
    log.configure(LogSettings(format=form), sinks=[LogSink("a", taken.append)])
    structlog.get_logger().info("one", password="hunter2", text="\x1b")
    logging.getLogger("some.library").warning("two")
    told = [json.loads(line) for line in "".join(taken).splitlines()]
    assert [(line["event"], line["level"]) for line in told] == [("one", "info"), ("two", "warning")]
    assert told[0]["password"] == "***"
    assert len(capsys.readouterr().err.splitlines()) == on_stderr


def test_without_a_sink_a_silent_stderr_speaks_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(format="none"))
    structlog.get_logger().info("one")
    assert [line["event"] for line in lines(capsys)] == ["one"]


def test_a_sink_that_raises_silences_nobody_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[str] = []

    def broken(_text: str) -> None:
        raise RuntimeError("oh")

    log.configure(LogSettings(format="json"), sinks=[LogSink("broken", broken), LogSink("whole", taken.append)])
    structlog.get_logger().info("one")
    structlog.get_logger().info("two")
    told = lines(capsys)
    assert [line["event"] for line in told] == ["one", "log_sink_failed", "two"]
    assert told[1]["sink"] == "broken"
    assert len(taken) == 3


def test_a_sink_that_logs_as_it_takes_lines_is_not_handed_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    taken: list[str] = []

    def talkative(text: str) -> None:
        structlog.get_logger().info("taken")
        logging.getLogger("some.library").warning("taken too")
        taken.append(text)

    log.configure(LogSettings(format="json"), sinks=[LogSink("a", talkative)])
    structlog.get_logger().info("one")
    assert [line["event"] for line in lines(capsys)] == ["one", "taken", "taken too"]
    assert len(taken) == 1
