"""The declared set of measurements: what it accepts and refuses, and the rows that it makes."""

import json
from typing import Any

import pytest
from iot_receiver.measurements import DEFAULT, declared
from iot_receiver.messages import Rejection
from iot_receiver.rows import Row, RowWriter

from tests.service.test_messages import one, parser
from tests.support.measurements import ACCEPTED, REFUSED

FLEET = declared(
    json.dumps(
        {
            "temp": {"attribute": "temperature", "type": "number", "minimum": -40, "maximum": 85.5, "unit": "°C"},
            "humidity": {"attribute": "humidity", "type": "number"},
            "door": {"attribute": "door_open", "type": "boolean"},
            "count": {"attribute": "count", "type": "integer", "minimum": 0},
            "state": {"attribute": "state", "type": "string", "max_length": 8},
        }
    )
)
AT = "2026-01-31T12:00:00.123Z"


def attributes(**members: Any) -> dict[str, Any]:
    """What a reading's row holds of measurements."""
    row = one(json.dumps({"deviceId": "d", **members}).encode(), parser(measurements=FLEET))
    found = json.loads(RowWriter(FLEET).put(row))["PutRequest"]["Item"]
    return {name: found[name] for name in found if name not in {"deviceId", "Time", "received_at"}}


def reason(raw: str, **changes: Any) -> str:
    (result,) = parser(measurements=FLEET, **changes).parse(raw.encode())
    assert isinstance(result, Rejection), result
    return result.reason


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_preflight_accepts_is_accepted(what: str) -> None:
    assert list(declared(json.dumps(ACCEPTED[what]))) == list(ACCEPTED[what])


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_stored_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        declared(json.dumps(REFUSED[what]))


def test_every_type_is_stored_as_itself() -> None:
    assert attributes(temp=21.50, humidity=40, door=True, count=7, state="ok ü") == {
        "temperature": {"N": "21.5"},
        "humidity": {"N": "40"},
        "door_open": {"BOOL": True},
        "count": {"N": "7"},
        "state": {"S": "ok ü"},
    }
    assert attributes(door=False, state='"\\') == {"door_open": {"BOOL": False}, "state": {"S": '"\\'}}
    assert attributes(temp=None, humidity=1, other="ignored") == {"humidity": {"N": "1"}}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ('"temp":-40.000000000000000000000001', "temp is below -40 °C"),
        ('"temp":85.50001', "temp is above 85.5 °C"),
        ('"temp":"21"', "temp is not a number"),
        ('"door":1', "door is neither true nor false"),
        ('"count":1.5', "count is not an integer"),
        ('"count":"1"', "count is not an integer"),
        ('"count":-1', "count is below 0"),
        ('"state":7', "state is not a string"),
        ('"state":"123456789"', "state has more than 8 characters"),
        ('"temp":1,"door":"yes"', "door is neither true nor false"),
        ('"temp":null', "temp and humidity and door and count and state are missing"),
        ('"temperature":1', "are missing; the message has temperature"),
    ],
)
def test_what_is_not_as_declared_is_refused_with_the_reason(members: str, said: str) -> None:
    assert said in reason(f'{{"deviceId":"d",{members}}}')


def test_integers_and_limits_are_exact() -> None:
    assert attributes(count=2.0) == {"count": {"N": "2"}}
    assert attributes(temp=-40) == {"temperature": {"N": "-40"}}
    assert attributes(temp=85.5) == {"temperature": {"N": "85.5"}}


def test_keys_of_the_default_schema_stay_when_measurements_are_added() -> None:
    sent = json.dumps({"deviceId": "d", "temp": 21.5, "ts": AT}).encode()
    assert one(sent).time == one(sent, parser(measurements=FLEET)).time
    moist = json.dumps({"deviceId": "d", "humidity": 21.5, "ts": AT}).encode()
    assert one(moist, parser(measurements=FLEET)).time != one(sent).time


def test_the_order_of_the_declared_set_changes_no_key() -> None:
    sent = json.dumps({"deviceId": "d", "temp": 1, "door": True, "ts": AT}).encode()
    assert (
        len(
            {
                one(sent, parser(measurements=dict(order))).time
                for order in (FLEET.items(), reversed(list(FLEET.items())))
            }
        )
        == 1
    )


def test_reasons_stay_short() -> None:
    strange = {f"{'x' * 90}{number}\u202e\n": number for number in range(500)}
    (result,) = parser().parse(json.dumps({"deviceId": "d"} | strange).encode())
    assert isinstance(result, Rejection)
    assert len(result.reason) < 200
    assert result.reason.isprintable()
    assert "and 496 more" in result.reason


def test_the_default_is_the_originals() -> None:
    assert declared('{"temp":{"attribute":"temperature","type":"number","required":true}}') == DEFAULT
    (result,) = parser().parse(b'{"deviceId":"d","temp":1}')
    assert isinstance(result, Row)
    assert result.values == ("1",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a JSON object of measurements"),
        ("[]", "a JSON object of measurements"),
        ("{}", "1 to 50 measurements"),
        ('{"t":{"type":"float"}}', "t: Invalid enum value 'float'"),
        ('{"t":{"typ":"number"}}', "t: Object contains unknown field `typ`"),
        ('{"ts":{}}', "ts: the member is reserved"),
        ('{"deviceId":{}}', "deviceId: the member is reserved"),
        ('{"iot_x":{}}', "iot_x: the member is reserved"),
        ('{"t":{"attribute":"Time"}}', "t: attribute Time is the row's own"),
        ('{"received_at":{}}', "attribute received_at is the row's own"),
        ('{"t":{"attribute":"a b"}}', "t: names have 1 to 64"),
        ('{"a":{"attribute":"x"},"b":{"attribute":"x"}}', "attribute x is used twice"),
        ('{"t":{"minimum":2,"maximum":1}}', "t: minimum is greater than maximum"),
        ('{"t":{"type":"boolean","minimum":0}}', "t: a boolean has no minimum"),
        ('{"t":{"max_length":3}}', "t: a number has no max_length"),
        ('{"t":{"type":"string","max_length":0}}', "t: max_length must be from 1"),
        ('{"t":{"minimum":"x"}}', "t: "),
        ('{"t":{"required":"yes"}}', "t: Expected `bool`"),
        ('{"t":{"type":"float"},"u":{"attribute":"ttl"}}', "u: attribute ttl"),
    ],
)
def test_a_faulty_declaration_is_refused_with_the_fix(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="measurements") as raised:
        declared(text)
    assert said in str(raised.value)


def test_limits_are_read_exactly() -> None:
    declaration = declared('{"t":{"maximum":0.1000000000000000000000000001}}')
    (result,) = parser(measurements=declaration).parse(b'{"deviceId":"d","t":0.1000000000000000000000000002}')
    assert isinstance(result, Rejection)
    assert isinstance(parser(measurements=declaration).parse(b'{"deviceId":"d","t":0.1}')[0], Row)
