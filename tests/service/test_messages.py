"""Properties of messages and rows, for whatever Hypothesis thinks of."""

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iot_receiver import elements, numbers, times
from iot_receiver.measurements import DEFAULT
from iot_receiver.messages import BodyError, MessageParser, Rejection
from iot_receiver.rows import Row, RowWriter
from iot_receiver.settings import Settings


def parser(**changes: Any) -> MessageParser:
    known: dict[str, Any] = {
        "aws_region": "us-east-2",
        "aws_account_id": "123456789012",
        "table_name": "telemetry",
        "secrets_dir": Path("/nowhere"),
    }
    return MessageParser(Settings(**(known | changes)))


PARSER = parser()
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
numbers_38 = st.builds(
    lambda digits, exponent, sign: Decimal((sign, tuple(map(int, str(digits))), exponent)),
    st.integers(0, 10**38 - 1),
    st.integers(-92, 87),
    st.integers(0, 1),
)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59)


def one(body: bytes, by: MessageParser = PARSER) -> Row:
    (result,) = by.parse(body)
    assert isinstance(result, Row), result
    return result


def item(row: Row) -> dict[str, Any]:
    return json.loads(RowWriter(DEFAULT).put(row))["PutRequest"]["Item"]  # type: ignore[no-any-return]


def written(value: Decimal, style: int) -> str:
    """One of the ways to write a number in JSON."""
    return [
        lambda: f"{value:e}",
        lambda: f"{value:E}".replace("E+", "E"),
        lambda: f"{value:f}" if abs(value.adjusted()) < 100 else f"{value:e}",
        lambda: f"{value:e}".replace("e", "00e") if "." in f"{value:e}" else f"{value:e}".replace("e", ".00e"),
    ][style]()


@given(texts, numbers_38, texts, st.integers(0, 3))
def test_a_reading_is_stored_as_it_is(device: str, value: Decimal, identity: str, style: int) -> None:
    members = json.dumps({"deviceId": device, "messageId": identity, "ts": 0}, ensure_ascii=False)
    row = one(f'{members[:-1]},"temp":{written(value, style)}}}'.encode())
    stored = item(row)
    assert Decimal(stored["temperature"]["N"]) == value
    assert stored["deviceId"]["S"] == row.device_id == device
    assert stored["Time"]["S"] == row.time == f"1970-01-01T00:00:00.000Z#{identity}"


@given(
    device=texts,
    value=numbers_38,
    moment=moments,
    micros=st.integers(0, 999_999),
    offset=offsets,
    style=st.integers(0, 3),
    other=st.integers(0, 3),
)
def test_the_key_is_the_messages_whatever_its_spelling(
    *, device: str, value: Decimal, moment: datetime, micros: int, offset: int, style: int, other: int
) -> None:
    moment = moment.replace(microsecond=micros, tzinfo=UTC)
    zone = timezone(timedelta(minutes=offset))
    try:
        elsewhere = moment.astimezone(zone).isoformat(timespec="microseconds")
    except OverflowError:
        elsewhere = moment.isoformat(timespec="microseconds")
    epoch = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    spellings = [
        json.dumps(moment.isoformat(timespec="microseconds").replace("+00:00", "Z")),
        json.dumps(elsewhere + ""),
        json.dumps(moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%d %H:%M:%S.%f") + "000z"),
    ]
    if not 10**12 <= epoch <= 10**14:  # what can only be seconds is read as seconds
        spellings.append(format(Decimal(epoch).scaleb(-3), "f"))
    rows = {
        one(f'{{"deviceId":{json.dumps(device)},"ts":{ts},"temp":{written(value, how)}}}'.encode()).time
        for ts in spellings
        for how in (style, other)
    }
    (key,) = rows
    assert key.startswith(moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%dT%H:%M:%S."))
    assert len(key.encode()) <= 1_024


@given(numbers_38, numbers_38)
def test_different_readings_have_different_keys(one_value: Decimal, other: Decimal) -> None:
    keys = {one(b'{"deviceId":"d","ts":5,"temp":%b}' % f"{value:e}".encode()).time for value in (one_value, other)}
    assert len(keys) == (1 if one_value == other else 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = ("deviceId", "temp", "ts", "messageId", "iot_received_at", "iot_trace_id", "iot_client_id")
anything = st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), json_values, max_size=8) | json_values


@settings(max_examples=500)
@given(anything)
def test_any_json_is_a_row_or_a_reason(value: Any) -> None:
    body = json.dumps(value).encode()
    for by in (PARSER, parser(rule_adds_metadata=False)):
        try:
            results = by.parse(body)
        except BodyError as error:
            assert error.status in {413, 422}  # noqa: PT017 - it may be raised, or not
            continue
        for result in results:
            if isinstance(result, Row):
                assert item(result)["deviceId"]["S"] == result.device_id
            else:
                assert 0 < len(result.reason) < 200


@settings(max_examples=500)
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda raw: b'[{"deviceId":"d","temp":' + raw))
def test_any_bytes_are_a_row_or_a_reason(body: bytes) -> None:
    try:
        results = PARSER.parse(body)
    except BodyError as error:
        assert error.status == 422  # noqa: PT017 - it may be raised, or not
    else:
        assert all(isinstance(result, Row | Rejection) for result in results)


@given(
    st.lists(st.sampled_from(["good", "bad", "nan", "deep"]), min_size=1, max_size=12),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_bad_elements_stay_by_themselves(kinds: list[str], space: str) -> None:
    elements = {
        "good": '{"deviceId":"d\\"]},{","temp":1}',
        "bad": '{"deviceId":"","temp":1}',
        "nan": '{"deviceId":"d","temp":NaN}',
        "deep": '{"deviceId":"d","temp":' + "[" * 20 + "]" * 20 + "}",
    }
    body = f"{space}[{space}" + f"{space},{space}".join(elements[kind] for kind in kinds) + f"{space}]{space}"
    results = PARSER.parse(body.encode())
    assert [isinstance(result, Row) for result in results] == [kind == "good" for kind in kinds]
    for kind, result in zip(kinds, results, strict=True):
        if isinstance(result, Rejection):
            assert result.message.decode() == elements[kind]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]")])
@pytest.mark.parametrize("depth", [10, 500, 990, 1_000, 10_000, 30_000])
def test_however_deep_an_element_is_its_neighbours_are_rows(opening: str, closing: str, depth: int) -> None:
    good = ",".join(f'{{"deviceId":"d{number}","temp":1}}' for number in range(9))
    deep = f'{{"deviceId":"z","temp":{opening * depth}1{closing * depth}}}'
    results = PARSER.parse(f"[{good},{deep}]".encode())
    assert [isinstance(result, Row) for result in results] == [True] * 9 + [False]
    assert isinstance(results[9], Rejection)
    assert results[9].message.decode() == deep


def test_no_more_elements_are_split_than_are_accepted() -> None:
    body = b"[" + b"NaN," * 130_000 + b"1]"
    assert len(elements.split(body, 1_001)) == 1_001
    assert len(elements.split(body)) == 130_001
    with pytest.raises(BodyError, match="more than 1000 messages"):
        PARSER.parse(body)


@pytest.mark.parametrize("text", ["[" + " " * 500_000, '[NaN,"' + "\\u0041" * 80_000, "[NaN," + "[" * 500_000])
def test_what_does_not_end_is_seen_soon(text: str) -> None:
    started = time.process_time()
    with pytest.raises(BodyError, match="not JSON"):
        PARSER.parse(text.encode())
    assert time.process_time() - started < 0.05


def test_an_element_that_is_not_utf_8_stays_by_itself() -> None:
    results = PARSER.parse(b'[{"deviceId":"d","temp":1},{"deviceId":"\xff","temp":NaN}]')
    assert [isinstance(result, Row) for result in results] == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "[1 2]",
        "[1,]",
        "[,1]",
        "[1]]",
        "[1",
        "[NaN",
        "[NaN,]",
        "[NaN]x",
        "[NaN NaN]",
        '["a"NaN]',
        "[NaN}",
        "[[NaN]",
        '[NaN,"]',
    ],
)
def test_what_is_no_array_at_all(text: str) -> None:
    with pytest.raises(BodyError, match="not JSON"):
        PARSER.parse(text.encode())


@pytest.mark.parametrize(
    ("text", "iso", "finer"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z", ""),
        ("2026-01-31t12:00:00.1z", "2026-01-31T12:00:00.100Z", ""),
        ("2026-01-31 12:00:00.123456789-00:00", "2026-01-31T12:00:00.123Z", "456789"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z", ""),
        ("2017-01-01T01:59:60+02:00", "2017-01-01T00:00:00.000Z", ""),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", ""),
        ("2026-02-01T00:30:00+00:45", "2026-01-31T23:45:00.000Z", ""),
    ],
)
def test_instants(text: str, iso: str, finer: str) -> None:
    assert times.from_text(text) == (iso, finer)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "20260131T120000Z",
        "2026-01-31T12:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+01:60",
        "2026-W05-6T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "٢٠٢٦-01-31T12:00:00Z",
        " 2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z\n",
        "2026-01-31T12:00:00." + "1" * 60 + "Z",
    ],
)
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        times.from_text(text)


@pytest.mark.parametrize(
    ("text", "iso", "finer"),
    [
        ("0", "1970-01-01T00:00:00.000Z", ""),
        ("-1", "1969-12-31T23:59:59.999Z", ""),
        ("-0.25", "1969-12-31T23:59:59.999Z", "75"),
        ("1.769860800123E12", "2026-01-31T12:00:00.123Z", ""),
        ("1769860800123.0", "2026-01-31T12:00:00.123Z", ""),
        ("253402300799999", "9999-12-31T23:59:59.999Z", ""),
        ("-62135596800000", "0001-01-01T00:00:00.000Z", ""),
    ],
)
def test_epochs(text: str, iso: str, finer: str) -> None:
    assert times.from_epoch(numbers.exact(text)) == (iso, finer)


@pytest.mark.parametrize("text", ["253402300800000", "-62135596800001", "1e30", "-1e-130"])
def test_what_is_no_epoch(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|digits"):
        times.from_epoch(numbers.exact(text))


@given(moments)
def test_iso_is_read_back(moment: datetime) -> None:
    milliseconds = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001
    assert times.ms_from_iso(times.iso_from_ms(milliseconds)) == milliseconds


def test_receipts_never_share_a_key() -> None:
    clock = times.Clock()
    keys = [clock.unique() for _ in range(10_000)]
    assert keys == sorted(set(keys))
