"""Schemathesis asks the real demo whatever its OpenAPI document allows and forbids, and finds nothing wrong."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

from e2e.program import ROOT, StartProgram, free_port, get, key_in, signed_in, until

EXAMPLES = "5"
KEY_VARIABLE = "SCHEMATHESIS_KEY"  # what the hooks ask with
PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")
ASK_A_DEVICE = {
    "get_points_by_point_id_value",
    "put_points_by_point_id_value",
    "delete_points_by_point_id_value",
    "get_points_by_point_id_priorities",
    "post_readings_query",
    "post_writes",
    "get_bacnet_bbmds_by_address",
    "put_bacnet_bbmds_by_address_bdt",
    "post_bacnet_bbmds_by_address_fdt_remove",
    "get_bacnet_devices_by_instance_objects",
    "get_bacnet_devices_by_instance_objects_by_object_id",
    "get_bacnet_devices_by_instance_objects_by_object_id_properties_by_property",
    "put_bacnet_devices_by_instance_objects_by_object_id_properties_by_property",
    "post_bacnet_properties_query",
}

PATIENT = """\
plugins:
  ratelimit:  # what is asked here is more than anybody may ask
    default: {rate: 100000/s}
    anonymous: {rate: 100000/s}
    failed: {rate: 100000/s}
"""


async def test_schemathesis_finds_nothing_wrong_with_the_demo(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    patient = tmp_path / "patient.yaml"
    patient.write_text(PATIENT, encoding="utf-8")
    files = ("--config", str(ROOT / "config/demo.yaml"), "--config", str(patient))
    program = await start("run", *files, "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        await until(
            lambda: get(client, "/api/v1/points/bacnet.2001.analog-value.1"), lambda point: point.get("reading")
        )
    run = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(ROOT / "schemathesis.toml"),
        "run", f"{url}/api/v1/openapi.json", "--max-examples", EXAMPLES,
        "--header", f"X-API-Key: {key_in(tmp_path)}", env={**os.environ, KEY_VARIABLE: key_in(tmp_path)},
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = (await run.communicate())[0].decode()
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()

    assert run.returncode == 0, said
    assert [phase for phase in PHASES if not re.search(rf"✅\s+{phase}", said)] == []
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert tested is not None and len(set(tested.groups())) == 1, said
    links = re.search(r"API Links:\s+\d+ covered / (\d+) selected", said)  # which are covered, chance decides
    assert links is not None and int(links[1]) >= 40, said
    assert program.logged("request_failed") == []
    assert await program.stop() == 0


def test_only_where_a_device_is_asked_may_an_answer_be_a_servers_error() -> None:
    settings = tomllib.loads((ROOT / "schemathesis.toml").read_text(encoding="utf-8"))
    allowed: dict[str, dict[str, object]] = {}
    for each in settings["operations"]:
        ids = each["include-operation-id"]
        for name in [ids] if isinstance(ids, str) else ids:
            allowed.setdefault(name, {}).update(each.get("checks", {}))
    errors = {name: checks["not_a_server_error"] for name, checks in allowed.items() if "not_a_server_error" in checks}
    assert errors.keys() == ASK_A_DEVICE
    for check in errors.values():
        assert check == {"expected-statuses": ["2xx", "3xx", "4xx", "502", "503", "504"]}
    kept = {"get_jobs_by_job_id", "get_points_by_point_id_value"}
    assert {name for name, checks in allowed.items() if "use_after_free" in checks} == kept
    assert {name for name, checks in allowed.items() if "max_response_time" in checks} == {"post_writes"}
    known = {"not_a_server_error", "use_after_free", "max_response_time"}
    assert {check for checks in allowed.values() for check in checks} == known
    assert settings["checks"] == {"enabled": True, "max_response_time": 30}
