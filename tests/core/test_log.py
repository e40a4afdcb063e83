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
from core.security import Secret
from core.settings import LogSettings


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
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
def test_chatty_libraries_are_heard_from_warnings_on(name: str, capsys: pytest.CaptureFixture[str]) -> None:
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
