"""All forms that lists are exported in come to the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Kind
from plugins.django_import.inventory import Inventories, inventories
from plugins.django_import.reader import Unreadable, read

DUMPED = [
    {"model": "bacnet.device", "pk": 7, "fields": {
        "device_id": 2001, "address": "10.0.0.5", "vendor_name": "Acme", "name": "AHU-1", "online": True}},
    {"model": "bacnet.point", "pk": 70, "fields": {
        "device": 7, "object_type": "analogInput", "object_instance": 1, "name": "SAT", "units": "degreesCelsius"}},
    {"model": "bacnet.point", "pk": 71, "fields": {
        "device": 7, "object_type": "binaryOutput", "object_instance": 2, "name": "Fan", "units": None}},
]  # fmt: skip
OTHERS = [
    {"model": "auth.user", "pk": 1, "fields": {"username": "admin"}},
    {"model": "bacnet.devicestatus", "pk": 9, "fields": {"device": 7, "online": True}},
    {"model": "bacnet.reading", "pk": 1, "fields": {"point": 70, "value": 21.5}},
]
POINTS = [
    {"object_type": 0, "object_instance": 1, "name": "SAT", "units": 62},
    {"object_type": "BO", "object_instance": 2, "name": "Fan", "units": "no-units"},
]
DEVICE = {"device_id": 2001, "address": "10.0.0.5", "vendor": "Acme", "name": "AHU-1"}
CSV = """\
Device Instance,IP Address,Vendor,Device Name,Object Type,Object Instance,Object Name,Units
2001,10.0.0.5,Acme,AHU-1,analog-input,1,SAT,°C

2001,10.0.0.5,Acme,AHU-1,binary-output,2.0,Fan,
"""
FORMS: dict[str, Any] = {
    "dumpdata": DUMPED,
    "dumpdata of everything": [*OTHERS, *DUMPED],
    "two lists and another": {
        "devices": [DEVICE], "points": [{**point, "deviceId": 2001} for point in POINTS], "readings": [{"value": 1}]},
    "dumpdata with the number as key": [
        {"model": "app.bacnetdevice", "pk": 2001, "fields": {
            "ip_address": "10.0.0.5", "manufacturer": "Acme", "name": "AHU-1"}},
        *({"model": "app.bacnetpoint", "pk": item["pk"], "fields": {**item["fields"], "device": 2001}}  # type: ignore[dict-item]
          for item in DUMPED[1:]),
    ],
    "nested": [{**DEVICE, "points": POINTS}],
    "one device with its points": {**DEVICE, "points": POINTS},
    "nested, with keys that are other devices' numbers": [
        {**DEVICE, "id": 3, "points": [{**point, "id": 2001, "device": 3} for point in POINTS]},
    ],
    "nested objects": {"devices": [{**DEVICE, "objects": [
        {"type": "analogInput", "instance": 1, "name": "SAT", "units": "°C"},
        {"object_identifier": "binaryOutput:2", "name": "Fan"}]}]},
    "two lists": {"devices": [DEVICE], "points": [{**point, "deviceId": 2001} for point in POINTS]},
    "two lists with keys": {
        "devices": [{**DEVICE, "id": 3}], "points": [{**point, "device_id": 3} for point in POINTS], "count": 2},
    "two lists with keys, by number": {
        "devices": [{**DEVICE, "id": 3}], "points": [{**point, "device": "2001"} for point in POINTS]},
    "flat": [{**DEVICE, "device_name": "AHU-1", **point} for point in POINTS],
    "object identifiers": [
        {**DEVICE, "device_name": "AHU-1", "object_id": ["analog-input", 1], "object_name": "SAT", "unit": "°C"} | {
            "name": None},
        {**DEVICE, "device_name": "AHU-1", "object_id": "(binary-output, 2)", "name": "Fan"},
    ],
    "CSV": CSV,
    "CSV with semicolons, a byte order mark and Windows' line ends": CSV.replace(",", ";").replace("\n", "\r\n").encode(
        "utf-8-sig"
    ),
    "CSV with tabs and quotes": CSV.replace(",", "\t").replace("AHU-1", '"AHU-1"'),
}  # fmt: skip


def made_of(path: Path) -> Inventories:
    return inventories(read(path), "bacnet")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_comes_to_the_same(household: Any, form: str) -> None:
    made = made_of(household.file("export.txt", FORMS[form]))

    assert made.refused == []
    [found] = made.devices.values()
    assert (found.instance, found.address, found.name, found.vendor) == (2001, "10.0.0.5:47808", "AHU-1", "Acme")
    points = [(each.id, each.name, each.kind, each.unit, each.writable) for each in found.points.values()]
    assert points == [
        ("bacnet.2001.analog-input.1", "SAT", Kind.NUMBER, "degrees-celsius", False),
        ("bacnet.2001.binary-output.2", "Fan", Kind.BOOLEAN, None, True),
    ]


def test_a_list_of_devices_alone_will_do(household: Any) -> None:
    made = made_of(household.file("devices.csv", "instance;name;address;port\n1;A;10.0.0.1;47809\n2;B;5:9@10.0.0.2;\n"))
    assert [(each.instance, each.name, each.address) for each in made.devices.values()] == [
        (1, "A", "10.0.0.1:47809"), (2, "B", "5:9@10.0.0.2:47808"),
    ]  # fmt: skip


ROW = {"device_id": 1, "address": "10.0.0.1", "object_type": "AI", "object_instance": 1}
WRONG = [
    ({"device_id": "x"}, "no device number"),
    ({"device_id": 4194303}, "no device number"),
    ({"device_id": None}, "no column names its device"),
    ({"device_id": {"a": 1}}, "not a text or number"),
    ({"address": "house"}, "is not an address"),
    ({"address": "10.0.0.999"}, "is not an IPv4 address"),
    ({"address": "0.0.0.0"}, "no single machine"),
    ({"address": "10.0.0.1:99999"}, "no UDP port"),
    ({"port": "x"}, "no UDP port"),
    ({"address": "2001:5"}, "write 2001:5@<its IP address>"),
    ({"address": "0:5@10.0.0.1"}, "no network"),
    ({"address": "1:256@10.0.0.1"}, "no network"),
    ({"object_instance": -1}, "no object number"),
    ({"object_instance": None}, "no object number"),
    ({"object_type": "analog-inputt"}, "did you mean analog-input"),
    ({"object_type": None, "object": "thing"}, "write it like analog-input:1"),
    ({"object_type": None}, "names no object without an object_type"),
    ({"name": "x" * 201}, "is no name"),
    ({"name": "a\x07b"}, "is no name"),
]


@pytest.mark.parametrize(("change", "reason"), WRONG, ids=[str(change)[:40] for change, _reason in WRONG])
def test_a_row_that_cannot_be_used_is_refused_with_its_place_and_reason(
    household: Any, change: dict[str, Any], reason: str
) -> None:
    made = made_of(household.file("rows.json", [ROW, {**ROW, "object_instance": 2} | change]))

    [refused] = made.refused
    assert refused.place == "rows.json item 2"
    assert reason in refused.text
    assert next(iter(made.devices[1].points)) == "bacnet.1.analog-input.1"


def test_a_unit_that_is_not_known_is_told_and_left_for_the_device_to_tell(household: Any) -> None:
    made = made_of(household.file("rows.json", [{**ROW, "units": "degreesCelcius"}]))

    assert made.refused == []
    [told] = made.unitless
    assert (told.place, told.text) == (
        "rows.json item 1", "unit 'degreesCelcius' is unknown; did you mean degrees-celsius or degrees-kelvin?",
    )  # fmt: skip
    assert made.devices[1].points["bacnet.1.analog-input.1"].unit is None


def test_rows_that_contradict_each_other_are_refused(household: Any) -> None:
    rows = [ROW, ROW, {**ROW, "address": "10.0.0.2"}, {**ROW, "name": "Other"}, 5]
    made = made_of(household.file("rows.json", rows))
    assert sorted((each.place, each.text.split()[0]) for each in made.refused) == [
        ("rows.json item 3", "device"), ("rows.json item 4", "analog-input.1"), ("rows.json item 5", "not"),
    ]  # fmt: skip
    csv = made_of(household.file("rows.csv", "device_id,address\n1,10.0.0.1,more\n"))
    assert [(each.place, each.text) for each in csv.refused] == [("rows.csv:2", "3 cells under 2 headings")]


def test_a_reference_to_no_device_or_to_two_is_refused(household: Any) -> None:
    devices = [{**DEVICE, "id": 3}, {"device_id": 3, "id": 4, "address": "10.0.0.9"}]
    points = [{**POINTS[0], "device_id": 3}, {**POINTS[0], "device": 99}, {**POINTS[0], "device": 3}]
    made = made_of(household.file("two.json", {"devices": devices, "points": points}))
    assert [each.place for each in made.refused] == ["two.json: points item 1", "two.json: points item 2"]
    assert "the key of another" in made.refused[0].text
    assert "does not have" in made.refused[1].text
    assert list(made.devices[2001].points) == ["bacnet.2001.analog-input.1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        ("", "no device and no point"),
        ("[1, ", "not JSON"),
        ("{}", "an object without a list"),
        ('[{"model": "auth.user", "pk": 1, "fields": {"username": "a"}}]', "model auth.user"),
        ('device_id,name\n1,"a', "unexpected end of data"),
    ],
)
def test_a_file_that_is_none_of_this_is_refused_as_a_whole(household: Any, content: Any, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(household.file("file", content))


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: f"[{text}".encode())))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        inventories(read(path), "bacnet")
    except Unreadable as error:
        assert str(error)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["device_id", "device", "pk", "fields", "model", "points", "object_type", "type", "address"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(value=st.lists(JSON_VALUES, max_size=3))
def test_whatever_json_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    import json

    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    try:
        inventories(read(path), "bacnet")
    except Unreadable as error:
        assert str(error)
