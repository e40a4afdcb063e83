from __future__ import annotations

import pytest

from core.samples import utc_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-31T12:00:00.000Z", 1_769_860_800_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000),
        ("2026-01-31 08:30:00-03:30", 1_769_860_800_000),
        ("2026-01-31t12:00:00.123456789z", 1_769_860_800_123),
        ("2026-01-31T12:00:00.5Z", 1_769_860_800_500),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
    ],
)
def test_a_time_is_read_as_rfc_3339_has_it(text: str, milliseconds: int) -> None:
    assert utc_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00Z", "20260131T120000Z", "1769860800",
        "2026-02-30T12:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T12:00:00 01:00", "2026-W05-6T12:00:00Z",
        "2026-01-31T12:00:00+99:00", "0000-01-01T00:00:00Z", "2026-01-31T12:00:00.Z",
        "\N{FULLWIDTH DIGIT TWO}026-01-31T12:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as"):
        utc_ms(text)
