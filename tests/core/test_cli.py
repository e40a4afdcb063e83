from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import core
from core.cli import main

TOOL = '''"""A tool, for tests."""

from core.plugin import CliCommand, PlantroomError, Plugin, hookimpl


class Tool(Plugin[dict]):
    schema = {"word": str}

    @hookimpl
    def register_commands(self):
        def arguments(parser):
            parser.add_argument("--port", type=int)
            parser.add_argument("--fail")

        def run(options):
            if options.fail == "plantroom":
                raise PlantroomError("it cannot be done")
            if options.fail == "system":
                raise OSError(13, "Permission denied", "file")
            if options.fail == "interrupt":
                raise KeyboardInterrupt
            print(self.config.get("word"), options.port, self.ctx.name, self.ctx.data_dir.name)
            return 3

        return [CliCommand("say", "say a word", run, arguments), CliCommand("check", "not this one", run)]
'''

USELESS = '''"""A plugin whose commands cannot be had, for tests."""

from core.plugin import Plugin, hookimpl


class Useless(Plugin[dict]):
    @hookimpl
    def register_commands(self):
        return {answer}
'''


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "custom_plugins"
    folder.mkdir()
    (folder / "tool.py").write_text(TOOL, encoding="utf-8")
    yield tmp_path
    structlog.reset_defaults()
    for name in [name for name in sys.modules if name.partition(".")[0] == "custom_plugins"]:
        del sys.modules[name]


def write(text: str, name: str = "plantroom.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_check_says_that_a_configuration_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool:\n  other: {enabled: false}\n")
    assert main(["check"]) == 0
    assert capsys.readouterr() == ("configuration is valid: 1 plugin\n", "")


def test_check_tells_every_mistake_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool: {wrod: x}\n  tool: {}\nsite: X\n")
    assert main(["check"]) == 2
    assert capsys.readouterr().err == (
        "plantroom.yaml:2: plugins.tool.wrod: unknown option; did you mean 'word'?\n"
        "plantroom.yaml:3: plugins.tool: this key is given twice; the first is in line 2\n"
        "plantroom.yaml:4: site: expected 1 to 32 of the characters a-z, 0-9 and -, not 'X'\n"
    )


def test_check_tells_of_a_plugin_that_cannot_be_loaded(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "custom_plugins" / "lost.py").write_text("import no_such_thing\n", encoding="utf-8")
    write("plugins:\n  tool:\n  lost:\n")
    assert main(["check"]) == 1
    out, err = capsys.readouterr()
    assert out == "configuration is valid: 2 plugins, 1 of them cannot be loaded\n"
    assert err.startswith("plantroom.yaml:3: plugins.lost: plugin 'lost' cannot be imported: ModuleNotFoundError")


def test_check_for_production_refuses_what_is_unfit_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    write(
        "http: {host: 0.0.0.0, allow_unauthenticated: true}\nlog: {level: debug}\nplugins:\n  sim: {use: simulator}\n"
    )
    assert main(["check"]) == 0
    capsys.readouterr()
    assert main(["check", "--production"]) == 1
    out, err = capsys.readouterr()
    assert "plantroom.yaml:2: log.level: debug logs too much for production; use info\n" in err
    assert "plugins.sim: this is a simulated building; remove it, or write `sim: {enabled: false}`\n" in err
    assert out == "configuration is valid: 1 plugin, 8 things should not reach production\n"


@pytest.mark.parametrize(
    "arguments", [["--config", "one.yaml", "check"], ["check", "--config", "one.yaml"], ["check", "--config=one.yaml"]]
)
def test_options_stand_before_or_behind_the_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool:\n", "one.yaml")
    assert main(arguments) == 0
    assert "1 plugin" in capsys.readouterr().out


def test_later_files_overlay_earlier_ones(capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool: {word: x}\n", "one.yaml")
    write("plugins:\n  tool: {enabled: false}\n", "two.yaml")
    assert main(["--config", "one.yaml", "check", "--config", "two.yaml"]) == 0
    assert "0 plugins" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0", "check"], ["check", "--host", "0.0.0.0"]])
def test_host_and_port_win_over_the_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write("http: {host: 127.0.0.1}\n")
    assert main(arguments) == 2
    assert "http.host: --host 0.0.0.0 can be reached from other machines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["no-such-command"], "invalid choice: 'no-such-command'"),
        (["run", "--port", "70000"], "expected a port from 0 to 65535, not '70000'"),
        (["run", "--host", "a b"], "expected an IP address or a host name, without a port, not 'a b'"),
        (["check", "--config"], "argument --config: expected one argument"),
        (["check", "--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["plugins", "--port", "1"], "unrecognized arguments: --port 1"),
    ],
)
def test_bad_usage_is_told_and_exits_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check"])
def test_without_a_configuration_nothing_is_run(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    assert capsys.readouterr() == (
        "",
        "there is no ./plantroom.yaml; name a file by --config FILE, or see a building by --demo\n",
    )


def test_a_missing_file_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "no.yaml"]) == 2
    assert capsys.readouterr().err == "no.yaml:1: cannot read no.yaml: there is no such file\n"


def test_version_and_help_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"plantroom {core.__version__}\n"
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("run", "check", "plugins", "simulate", "--config", "--data-dir", "--host"))


def test_help_needs_no_valid_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    write("site: X\n")
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert "check the configuration" in out
    assert "plugins' commands are not listed" in err


def test_plugins_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["NAME", "FROM", "STATE", "WHAT IT IS"]
    assert ["tool", "custom", "-", "A tool, for tests."] in rows
    assert [row[0] for row in rows[1:]] == sorted(row[0] for row in rows[1:])


def test_plugins_shows_what_a_configuration_makes_of_them(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "custom_plugins" / "lost.py").write_text("import no_such_thing\n", encoding="utf-8")
    write("plugins:\n  tool:\n  second: {use: tool, enabled: false}\n  lost:\n")
    assert main(["plugins"]) == 0
    told = capsys.readouterr().out
    assert "enabled, disabled as second" in told
    assert ["lost", "custom", "not", "loadable"] in [line.split()[:4] for line in told.splitlines()]


def test_a_plugin_s_command_runs_with_its_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool: {word: hello}\n  second: {use: tool}\n")
    assert main(["say", "--port", "5", "--data-dir", "place"]) == 3
    out, err = capsys.readouterr()
    assert out == "hello 5 tool place\n"
    assert err.splitlines() == [
        "plugin 'tool': its command 'check' is left out, plantroom itself has one of this name",
        "plugin 'second': its command 'check' is left out, plantroom itself has one of this name",
    ]


def test_without_a_configuration_bundled_plugins_have_their_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--help"]) == 0
    assert "--seed" in capsys.readouterr().out


def test_a_broken_configuration_stops_a_plugin_s_command(capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool: {wrod: hello}\n")
    assert main(["say"]) == 2
    assert "plugins.tool.wrod" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("plantroom", "plantroom: it cannot be done\n"),
        ("system", "plantroom: [Errno 13] Permission denied: 'file'\n"),
        ("interrupt", ""),
    ],
)
def test_a_command_that_fails_says_so_in_a_line(how: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("plugins:\n  tool:\n")
    assert main(["say", "--fail", how]) == 1
    err = capsys.readouterr().err
    assert [line for line in err.splitlines(keepends=True) if "left out" not in line] == ([told] if told else [])


@pytest.mark.parametrize("answer", ["[1]", "1", "1 / 0"])
def test_a_plugin_that_cannot_be_asked_leaves_others_their_commands(
    answer: str, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (house / "custom_plugins" / "useless.py").write_text(USELESS.format(answer=answer), encoding="utf-8")
    (house / "custom_plugins" / "lost.py").write_text("import no_such_thing\n", encoding="utf-8")
    write("plugins:\n  useless:\n  lost:\n  tool: {word: hello}\n")
    assert main(["say"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("hello")
    assert "plugin 'useless' has no commands now" in err
    assert "plugin 'lost' has no commands now" in err


def test_a_command_cannot_use_what_only_a_running_kernel_has(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TOOL.replace("def run(options):", "def run(options):\n            self.ctx.seen('x')")
    (house / "custom_plugins" / "tool.py").write_text(text, encoding="utf-8")
    write("plugins:\n  tool:\n")
    assert main(["say"]) == 1
    assert "plantroom: Plantroom is not running" in capsys.readouterr().err
    text = TOOL.replace(
        "def run(options):", "def run(options):\n            import asyncio; asyncio.run(self.ctx.store.{0})"
    )
    for call in ("read('select 1')", "write()"):
        (house / "custom_plugins" / "tool.py").write_text(text.replace("{0}", call), encoding="utf-8")
        assert main(["say"]) == 1
        assert "plantroom: Plantroom is not running" in capsys.readouterr().err


def python_m_core(*arguments: str, cwd: Path, pythonpath: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": pythonpath},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_another_package_named_plugins_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "plugins"
    other.mkdir()
    (other / "__init__.py").touch()
    root = str(Path(core.__file__).parents[1])
    done = python_m_core("check", cwd=tmp_path, pythonpath=os.pathsep.join([str(tmp_path), root]))
    assert done.returncode == 1
    assert done.stderr.startswith(f"plantroom: the Python package `plugins` is found at {other}, not at ")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    root = str(Path(core.__file__).parents[1])
    read, write_end = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "core", "plugins"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")
