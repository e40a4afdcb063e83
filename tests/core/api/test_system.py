from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import every_error
from core.settings import PluginEntry


@pytest.fixture
def entries(plugin_entry: Any) -> list[PluginEntry]:
    return [
        plugin_entry("demo", config={"level": 3}),
        plugin_entry("demo2", config={"broken": True}),
        plugin_entry("off", None, enabled=False),
    ]


class TestUnlucky:
    @pytest.fixture
    def entries(self, plugin_entry: Any, failing_plugins: Any) -> list[PluginEntry]:
        return [plugin_entry("demo"), *failing_plugins]

    async def test_failed_and_waiting_plugins_say_why(self, api: Any) -> None:
        failing = (await api.get("/api/v1/plugins/failing")).json
        assert (failing["state"], failing["registered"], failing["health"]) == ("failed", {}, [])
        assert failing["error"].startswith("RuntimeError: no luck today (api/conftest.py:")
        needy = (await api.get("/api/v1/plugins/needy")).json
        assert (needy["state"], needy["requires"]) == ("waiting", ["failing"])
        assert "failing" in needy["error"]
        items = (await api.get("/api/v1/plugins?state=failed&state=waiting&sort=-name")).json["items"]
        assert [item["name"] for item in items] == ["needy", "failing"]

    async def test_the_house_is_not_ready_without_a_required_plugin(self, api: Any) -> None:
        reply = await api.get("/readyz")
        assert reply.status == 503
        assert reply.headers["Retry-After"]
        assert "needy" in reply.json["detail"]


class TestRich:
    @pytest.fixture
    def entries(self, rich_plugin: PluginEntry) -> list[PluginEntry]:
        return [rich_plugin]

    async def test_all_that_a_plugin_brought_is_named(self, api: Any) -> None:
        plugin = (await api.get("/api/v1/plugins/rich")).json
        assert plugin["version"] == "9.9"
        assert plugin["registered"] == {
            "register_points": ["rich.1"],
            "register_middlewares": ["AUTH"],
            "register_migrations": ["1"],
            "register_event_handlers": ["DevicesChanged"],
            "register_log_processors": ["redact"],
            "provide_cache": "MemoryCache",
        }


async def test_the_root_tells_what_this_is(api: Any) -> None:
    reply = await api.get("/api/v1")
    assert {name: reply.json[name] for name in ("name", "version", "site", "installation_id")} == {
        "name": "Plantroom", "version": "1.2.3", "site": "local", "installation_id": "0000-id",
    }  # fmt: skip
    assert reply.json["plugins"] == {"demo": "running", "demo2": "running", "off": "disabled"}
    for link in reply.json["links"].values():
        assert (await api.get(link)).status == 200


async def test_a_plugin_shows_its_state_configuration_and_what_it_brought(api: Any) -> None:
    api.house.device("demo.1", "a")
    plugin = (await api.get("/api/v1/plugins/demo")).json
    assert (plugin["name"], plugin["use"], plugin["state"], plugin["error"]) == ("demo", "demo", "running", None)
    assert plugin["description"] == "Shows what a plugin can bring."
    assert plugin["config"] == {"level": 3}
    assert plugin["registered"] == {
        "register_health_checks": ["link"],
        "register_metrics": ["demo_reads_total", "demo_level", "demo_broken"],
        "register_routes": ["GET /api/v1/demo/hello"],
    }
    assert plugin["device_count"] == 1
    assert plugin["health"] == [{"check": "link", "status": "ok", "detail": "up"}]
    broken = (await api.get("/api/v1/plugins/demo2")).json
    assert broken["use"] == "demo"
    assert broken["health"][1] == {"check": "broken", "status": "degraded", "detail": "the check failed: RuntimeError"}
    off = (await api.get("/api/v1/plugins/off")).json
    assert (off["state"], off["version"], off["enabled"]) == ("disabled", None, False)
    assert (await api.get("/api/v1/plugins/none")).json["code"] == "plugin.not_found"


async def test_plugins_are_listed_in_pages(api: Any) -> None:
    first = await api.get("/api/v1/plugins?limit=2&count=true")
    assert [item["name"] for item in first.json["items"]] == ["demo", "demo2"]
    assert first.json["total"] == 3
    rest = await api.get(f"/api/v1/plugins?limit=2&cursor={first.json['next_cursor']}")
    assert [item["name"] for item in rest.json["items"]] == ["off"]
    assert [item["name"] for item in (await api.get("/api/v1/plugins?q=off")).json["items"]] == ["off"]


async def test_readiness_sums_the_plugins_up(api: Any) -> None:
    reply = await api.get("/readyz")
    assert (reply.status, reply.json) == (200, {
        "status": "degraded",
        "plugins": {"demo": {"state": "running", "health": "ok"}, "demo2": {"state": "running", "health": "degraded"}},
        "checks": [],
    })  # fmt: skip


async def test_every_error_is_explained(api: Any) -> None:
    codes, cursor = [], ""
    while cursor is not None:
        reply = await api.get(f"/api/v1/errors?limit=10&cursor={cursor}" if cursor else "/api/v1/errors?limit=10")
        codes += [item["code"] for item in reply.json["items"]]
        cursor = reply.json["next_cursor"]
    assert codes == sorted({error.code for error in every_error()})
    for code in codes:
        entry = (await api.get(f"/api/v1/errors/{code}")).json
        assert entry["code"] == code
        assert entry["status"] and entry["title"] and entry["meaning"] and entry["remedy"]
    assert (await api.get("/api/v1/errors/none")).json["code"] == "error.not_found"
    found = (await api.get("/api/v1/errors?q=CURSOR&sort=-code")).json["items"]
    assert "cursor.invalid" in [item["code"] for item in found]


async def test_the_type_of_a_problem_is_its_place_in_the_reference(api: Any) -> None:
    problem = (await api.get("/api/v1/points?limit=0")).json
    assert (await api.get(problem["type"])).json["code"] == problem["code"]


async def test_metrics_are_collected_from_everybody(api: Any) -> None:
    await api.get("/api/v1")
    await api.get("/api/v1/points?limit=0")
    async with api.client.get("/metrics") as answer:
        text = await answer.text()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = text.splitlines()
    assert 'plantroom_http_requests_total{status="2xx"} 1' in lines
    assert 'plantroom_http_requests_total{status="4xx"} 1' in lines
    assert 'plantroom_http_request_duration_seconds_bucket{le="+Inf"} 2' in lines
    assert "plantroom_http_request_duration_seconds_count 2" in lines
    assert "plantroom_uptime_seconds 0.0" in lines
    assert lines.count("# TYPE demo_reads_total counter") == 1
    assert r'demo_reads_total{plugin="demo",device="a\"b\\c\nd"} 3' in lines
    assert r'demo_reads_total{plugin="demo2",device="a\"b\\c\nd"} 3' in lines
    assert 'demo_level{plugin="demo"} NaN' in lines
    assert 'demo_level{plugin="demo2",x="y"} +Inf' in lines
    assert "demo_broken" not in text
    assert text.endswith("\n")


async def test_a_failed_request_counts_by_its_status(api: Any) -> None:
    await api.get("/nowhere")
    async with api.client.get("/metrics") as answer:
        assert 'plantroom_http_requests_total{status="4xx"} 1' in await answer.text()


def test_the_api_modules_never_reach_for_the_kernel() -> None:
    folder = Path(__file__).parents[3] / "core" / "api"
    assert not [path.name for path in folder.glob("*.py") if "core.kernel" in path.read_text()]
