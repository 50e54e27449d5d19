"""Statements of rule SQL, by tables of payload and result."""
# ruff: noqa: S608 - rule SQL reaches no database

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from iot_sandbox.shared.sql import Context, EvaluationError, SqlError, compile_statement
from iot_sandbox.shared.sql.message import Message, Properties
from iot_sandbox.shared.sql.values import UNDEFINED, Value, dumps

PROPERTIES = Properties(
    content_type="text/plain",
    correlation_data=b"cid",
    response_topic="r/t",
    text=True,
    user=(("k", "v1"), ("o", "ov"), ("k", "v2")),
)


def message(payload: str | bytes = b"{}", **more: Any) -> Message:
    defaults: dict[str, Any] = {
        "topic": "things/telemetry",
        "payload": payload.encode() if isinstance(payload, str) else payload,
        "client_id": "sensor-1",
        "principal": "ab" * 32,
        "trace_id": "7e146a2c-95b5-4caf-98b9-50e3969734c7",
        "received_at": 1_700_000_000_123,
        "source_ip": "10.0.0.7",
        "properties": PROPERTIES,
    }
    return Message(**(defaults | more))


def run(sql: str, payload: str | bytes = b"{}", **more: Any) -> Value:
    """What the statement selects, or None if its WHERE stops the message."""
    statement, received = compile_statement(sql), message(payload, **more)
    context = statement.with_variables(Context(received, received.document, "123456789012"))
    return statement.select(context) if statement.applies(context) else None


def value(expression: str, payload: str | bytes = b"{}", **more: Any) -> Value:
    """What an expression yields; Undefined if its member is left out."""
    return run("SELECT " + expression + " AS v FROM 't'", payload, **more).get("v", UNDEFINED)


READING = '{"deviceId": "a", "temp": 21.0, "nested": {"list": [1, {"x": "y"}], "value": 5}, "value": 7, "on": true}'


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("*", json.loads(READING)),
        ("deviceId, temp", {"deviceId": "a", "temp": 21}),
        ("deviceId, missing", {"deviceId": "a"}),
        ("missing AS other", {}),
        ("deviceId AS id, nested.value AS inner", {"id": "a", "inner": 5}),
        ("nested.list[1].x", {"x": "y"}),
        ("nested.list[9].x AS x, nested.none.at.all AS n, deviceId.x AS d", {}),
        ("value", {"value": 7}),
        ("value AS v, value + 1 AS w", {"v": 7, "w": 8}),
        ("*, topic(2) AS kind", json.loads(READING) | {"kind": "telemetry"}),
        ("*, temp * 2 AS temp", json.loads(READING) | {"temp": 42}),
        ("VALUE nested", {"list": [1, {"x": "y"}], "value": 5}),
        ("VALUE *", json.loads(READING)),
        ("value deviceId", "a"),
        ("{'id': deviceId, 'none': missing, 'all': [temp, missing]} AS o", {"o": {"id": "a", "all": [21]}}),
        ("(SELECT VALUE x FROM nested.list) AS xs", {"xs": ["y"]}),
        ("(SELECT * FROM nested).value AS v", {"v": 5}),
        ("timestamp() AS at, clientid() AS who", {"at": 1_700_000_000_123, "who": "sensor-1"}),
        ("deviceid", {}),  # attributes are case-sensitive
    ],
)
def test_selections(selection: str, expected: Value) -> None:
    assert run("SELECT " + selection + " FROM 'things/telemetry'", READING) == expected


def test_keywords_and_functions_may_be_in_any_case() -> None:
    assert run("select TIMESTAMP() as at fRoM 't' wHeRe not FALSE and iSnUlL(NULL)") == {"at": 1_700_000_000_123}


def test_numbers_keep_their_digits() -> None:
    payload = '{"a": 21.0, "b": 0.1, "c": 12345678901234567890.123456789, "d": 1e-7, "e": 9007199254740993}'
    assert dumps(run("SELECT a, b, c, d, e FROM 't'", payload)) == (
        b'{"a":21,"b":0.1,"c":12345678901234567890.123456789,"d":1E-7,"e":9007199254740993}'
    )
    assert value("b + 0.2", payload) == Decimal("0.3")


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ("temp > 20", True),
        ("temp > 21", False),
        ("temp >= 21 AND deviceId = 'a'", True),
        ("temp < 0 OR on", True),
        ("NOT on", False),
        ("missing > 1", False),
        ("NOT (missing > 1)", False),
        ("missing = missing", False),
        ("deviceId <> 'b'", True),
        ("deviceId != 'b'", True),
        ("deviceId = 1", False),
        ("deviceId <> 1", True),
        ("temp = 21 AND temp = 21.00", True),
        ("'10' > 9", True),
        ("deviceId > 9", False),
        ("'TRUE' AND on", True),
        ("nested.list[0] IN [1, 2]", True),
        ("3 IN nested.list", False),
        ("nested.list = [1, {'x': 'y'}]", True),
        ("deviceId = 'a' OR missing", False),
        ("startswith(topic(), 'things/')", True),
        ("regexp_matches(deviceId, '^[a-c]$')", True),
        ("true = 1", False),
        ("deviceId", False),
    ],
)
def test_conditions(condition: str, passes: bool) -> None:
    found = run("SELECT deviceId FROM 't' WHERE " + condition, READING)
    assert found == ({"deviceId": "a"} if passes else None)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7.0 / 2", Decimal("3.5")),
        ("10 - 4 - 3", 3),
        ("'7' - 1", 6),
        ("1 / 0", UNDEFINED),
        ("'a' - 1", UNDEFINED),
        ("true + 1", UNDEFINED),
        ("'a' + 1 + true", "a1true"),
        ("1 + 2 + 'a'", "3a"),
        ("missing + 'a'", UNDEFINED),
        ("-value", -7),
        ("value-1", 6),
        ("CASE value WHEN 5 THEN 'five' WHEN 7 THEN 'seven' ELSE 'no' END", "seven"),
        ("CASE value WHEN 5 THEN 'five' END", UNDEFINED),
        ("CASE WHEN value > 6 THEN 'big' ELSE 'small' END", "big"),
        ("CASE deviceId WHEN 'a' THEN {'x': 1}.x END", 1),
        ("'it''s'", "it's"),
        ('"double \\"quoted\\""', 'double "quoted"'),
        ("null", None),
        ("undefined", UNDEFINED),
    ],
)
def test_expressions(expression: str, expected: Value) -> None:
    assert value(expression, READING) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("topic()", "things/telemetry"),
        ("topic(1)", "things"),
        ("topic(3)", UNDEFINED),
        ("topic(0)", UNDEFINED),
        ("principal()", "ab" * 32),
        ("traceid()", "7e146a2c-95b5-4caf-98b9-50e3969734c7"),
        ("accountid()", "123456789012"),
        ("sourceip()", "10.0.0.7"),
        ("get_user_properties()", [{"k": "v1"}, {"o": "ov"}, {"k": "v2"}]),
        ("get_user_properties('k')", ["v1", "v2"]),
        ("get_user_properties('none')", UNDEFINED),
        ("get_mqtt_property('content_type')", "text/plain"),
        ("get_mqtt_property('format_indicator')", "UTF8_DATA"),
        ("get_mqtt_property('response_topic')", "r/t"),
        ("get_mqtt_property('correlation_data')", "Y2lk"),
        ("get_mqtt_property('bogus')", UNDEFINED),
        ("cast(temp AS Int)", 21),
        ("cast('21.5' AS Decimal)", Decimal("21.5")),
        ("cast('nope' AS Decimal)", UNDEFINED),
        ("cast(on AS String)", "true"),
        ("cast('TRUE' AS Boolean)", True),
        ("cast(on AS Int)", 1),
        ("isUndefined(missing)", True),
        ("isUndefined(value)", False),
        ("isNull(null)", True),
        ("isNull(missing)", False),
        ("get_or_default(missing, 'x')", "x"),
        ("get_or_default(value, 'x')", 7),
        ("nanvl(deviceId, 0)", "a"),
        ("get(nested, 'value')", 5),
        ("get(*, 'deviceId')", "a"),
        ("get(nested.list, 0)", 1),
        ("get('abc', 1)", "b"),
        ("concat('a', 1, true)", "a1true"),
        ("concat([1], 2, [3])", [1, 2, 3]),
        ("upper('aB') + lower('aB')", "ABab"),
        ("length('aä')", 2),
        ("numbytes('aä')", 3),
        ("substring('012345', 2)", "2345"),
        ("substring('012345', 2, 4)", "23"),
        ("indexof('abcd', 'cd')", 2),
        ("replace('abab', 'b', 'x')", "axax"),
        ("lpad('a', 2) + rpad('b', 1)", "  ab "),
        ("rtrim(' a ') + ltrim(' b')", " ab"),
        ("endswith('cat', 'at')", True),
        ("chr(65)", "A"),
        ("regexp_replace('abcd', 'a(.)', '$1')", "bcd"),
        ("regexp_substr('a12b', '[0-9]+')", "12"),
        ("regexp_substr('ab', '[0-9]+')", UNDEFINED),
        ("regexp_matches('a', '(')", UNDEFINED),
        ("abs(-5) + ceil(1.2) + floor(1.8)", 8),
        ("round(2.5) + sign(-3)", 2),
        ("mod(7, 4)", 3),
        ("power(2, 10)", 1024),
        ("sqrt(9)", 3),
        ("trunc(2.3456, 2)", Decimal("2.34")),
        ("bitand(12, 10) + bitor(1, 2) + bitxor(5, 1)", 15),
        ("abs('x')", UNDEFINED),
        ("encode('hi', 'base64')", "aGk="),
        ("decode('eyJhIjoxfQ==', 'base64').a", 1),
        ("md5('hello')", "5d41402abc4b2a76b9719d911017c592"),
        ("sha256('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("parse_time('yyyy-MM-dd HH:mm:ss.SSS', 1700000000123)", "2023-11-14 22:13:20.123"),
        (
            "parse_time(\"yyyy.MM.dd G 'at' HH:mm:ss z\", 100000000, 'America/Belize')",
            "1970.01.01 AD at 21:46:40 CST",
        ),
        ("parse_time('EEEE, MMMM d, yyyy h:mm a', 1700000000123)", "Tuesday, November 14, 2023 10:13 PM"),
        ("parse_time('yyyy', 0, 'Nope/Zone')", UNDEFINED),
        ("time_to_epoch('2020-04-03 09:45:18 UTC+01:00', 'yyyy-MM-dd HH:mm:ss VV')", 1_585_903_518_000),
        ("time_to_epoch('18 December 2015', 'dd MMMM yyyy')", 1_450_396_800_000),
        (
            "time_to_epoch('2007-12-03 10:15:30.592 America/Los_Angeles', 'yyyy-MM-dd HH:mm:ss.SSS z')",
            1_196_705_730_592,
        ),
        ("time_to_epoch('2021-02-31', 'yyyy-MM-dd')", UNDEFINED),
        ("time_to_epoch('nope', 'yyyy-MM-dd')", UNDEFINED),
        ("upper(missing)", UNDEFINED),
    ],
)
def test_functions(expression: str, expected: Value) -> None:
    assert value(expression, READING) == expected


FUNCTIONS_PAGE = "https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-functions.html"
TYPES_PAGE = "https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-data-types.html"
CASE_PAGE = "https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-case.html"


@pytest.mark.parametrize(
    ("expression", "expected", "page"),
    [
        # a wrong number of arguments
        ("timestamp(1, 2, 3)", UNDEFINED, FUNCTIONS_PAGE),
        ("get(nested)", UNDEFINED, FUNCTIONS_PAGE),
        ("abs()", UNDEFINED, FUNCTIONS_PAGE),
        ("upper('a', 'b')", UNDEFINED, FUNCTIONS_PAGE),
        ("concat()", UNDEFINED, FUNCTIONS_PAGE),
        ("concat('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)",
         "0123456789012345678910", FUNCTIONS_PAGE),
        # null has no text
        ("upper(null)", UNDEFINED, TYPES_PAGE),
        ("replace(null, 'n', 'x')", UNDEFINED, TYPES_PAGE),
        ("startswith('null', null)", UNDEFINED, TYPES_PAGE),
        ("concat('a', null)", UNDEFINED, TYPES_PAGE),
        ("'a' + null", UNDEFINED, TYPES_PAGE),
        ("cast(null AS String)", UNDEFINED, TYPES_PAGE),
        ("concat([1], null)", [1, None], FUNCTIONS_PAGE),
        # numbers out of text, and text and Booleans out of numbers
        ("'-5.25' * 2", Decimal("-10.5"), TYPES_PAGE),
        ("'25e-1' * 2", 5, TYPES_PAGE),
        ("'+7' * 1", UNDEFINED, TYPES_PAGE),
        ("'7 ' * 1", UNDEFINED, TYPES_PAGE),
        ("'.7' * 1", UNDEFINED, TYPES_PAGE),
        ("'7.' * 1", UNDEFINED, TYPES_PAGE),
        ("'7e+1' * 1", UNDEFINED, TYPES_PAGE),
        ("'0x7' * 1", UNDEFINED, TYPES_PAGE),
        ("cast(0.0 AS Bool)", False, TYPES_PAGE),
        ("cast(-3 AS Boolean)", True, TYPES_PAGE),
        ("cast('1' AS Boolean)", UNDEFINED, TYPES_PAGE),
        ("cast(2.50 AS Text) + cast(1 AS Nvarchar) + cast(true AS Ntext)", "2.501true", TYPES_PAGE),
        ("cast('2.5' AS Double)", Decimal("2.5"), TYPES_PAGE),
        ("'is ' + 3.0", "is 3", TYPES_PAGE),
        # positions and widths may be text
        ("get([7, 8, 9], '2')", 9, FUNCTIONS_PAGE),
        ("get('abc', 1.9)", "b", FUNCTIONS_PAGE),
        ("get('abc', 3)", UNDEFINED, FUNCTIONS_PAGE),
        ("get('abc', -1)", UNDEFINED, FUNCTIONS_PAGE),
        ("get(nested, 0)", UNDEFINED, FUNCTIONS_PAGE),
        ("substring('012345', '1', '3')", "12", FUNCTIONS_PAGE),
        ("substring('012345', -9.9E99, 2.9)", "01", FUNCTIONS_PAGE),
        ("substring('012345', 4, 9E99)", "45", FUNCTIONS_PAGE),
        ("substring('012345', true)", UNDEFINED, FUNCTIONS_PAGE),
        ("lpad('a', '2') + rpad('b', 1.9)", "  ab ", FUNCTIONS_PAGE),
        ("chr('66') + chr(66.9)", "BB", FUNCTIONS_PAGE),
        ("chr(256)", UNDEFINED, FUNCTIONS_PAGE),
        # missing and null
        ("isNull(null)", True, FUNCTIONS_PAGE),
        ("nanvl(null, 2)", 2, FUNCTIONS_PAGE),
        ("nanvl(true, 2)", True, FUNCTIONS_PAGE),
        ("decode('!', 'base64')", None, FUNCTIONS_PAGE),
        ("CASE missing WHEN 1 THEN 2 ELSE 3 END", UNDEFINED, CASE_PAGE),
        ("CASE null WHEN 1 THEN 2 ELSE 3 END", 3, CASE_PAGE),
        # further functions
        ("sql_version()", "2016-03-23", FUNCTIONS_PAGE),
        ("transform('enrichArray', {'k': value}, [{'x': 1}, {'k': 0}])", [{"x": 1, "k": 7}, {"k": 7}], FUNCTIONS_PAGE),
        ("transform('other', {'k': 1}, [])", UNDEFINED, FUNCTIONS_PAGE),
        ("transform('enrichArray', [], [])", UNDEFINED, FUNCTIONS_PAGE),
    ],
)  # fmt: skip
def test_documented_results(expression: str, expected: Value, page: str) -> None:
    assert value(expression, READING) == expected, page


@pytest.mark.parametrize(
    ("number", "written"),
    [("10.0", "10"), ("-3.000", "-3"), ("0.0", "0"), ("1E3", "1000"), ("10.50", "10.50"), ("1e-7", "1E-7"),
     ("1E40", "1E+40"), ("12345678901234567890.0", "12345678901234567890")],
)  # fmt: skip
def test_a_whole_number_is_written_without_a_fraction(number: str, written: str) -> None:
    assert dumps(run("SELECT n FROM 't'", '{"n": ' + number + "}")) == ('{"n":' + written + "}").encode(), TYPES_PAGE
    assert dumps(run("SELECT " + number + " AS n FROM 't'")) == ('{"n":' + written + "}").encode()


def test_a_whole_decimal_is_still_no_int() -> None:
    assert value("n / 2", '{"n": 7.0}') == Decimal("3.5")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("value AS a.b", {"a": {"b": 7}}),
        ("value AS a.b, deviceId AS a.c.d, 1 AS e", {"a": {"b": 7, "c": {"d": "a"}}, "e": 1}),
        ("nested, 1 AS nested.more", {"nested": {"list": [1, {"x": "y"}], "value": 5, "more": 1}}),
        ("value AS value.of", {"value": {"of": 7}}),
        ("missing AS a.b", {}),
    ],
)
def test_an_alias_may_name_a_member_of_an_object(selection: str, expected: Value) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-json.html"""
    sent = message(READING)
    context = Context(sent, sent.document, "1")
    assert compile_statement("SELECT " + selection + " FROM 't'").select(context) == expected
    assert sent.document == json.loads(READING), "the payload's own objects stay as they are"


@pytest.mark.parametrize(
    ("topic", "whole", "second"),
    [
        ("$aws/rules/forward/things/telemetry", "things/telemetry", "telemetry"),
        ("$aws/rules/forward/things", "things", UNDEFINED),
        ("$aws/things/sensor-1/shadow", "$aws/things/sensor-1/shadow", "things"),
    ],
)
def test_basic_ingests_prefix_is_no_part_of_the_topic(topic: str, whole: str, second: Value) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/iot-basic-ingest.html"""
    assert value("topic()", topic=topic) == whole
    assert value("topic(2)", topic=topic) == second


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT aws_lambda('arn', *) AS v", "aws_lambda()"),
        ("SELECT * WHERE get_thing_shadow('t', 'arn').state.on", "get_thing_shadow()"),
        ("SELECT get_dynamodb('t', 'k', 'v', 'arn').x AS v", "get_dynamodb()"),
        ("SELECT get_registry_data('t', 'arn') AS v", "get_registry_data()"),
        ("SELECT machinelearning_predict('m', 'arn', *) AS v", "machinelearning_predict()"),
        ("SELECT md2('a') AS v", "md2()"),
        ("SELECT decode(encode(*, 'base64'), 'proto', 's', 'd', 'f', 'm') AS v", "protobuf"),
        ("SET @" + "a" * 65 + " = 1 SELECT 1 AS v", "64 characters"),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(sql: str, name: str) -> None:
    with pytest.raises(SqlError, match=re.escape(name)):
        compile_statement(sql)


@pytest.mark.parametrize(
    ("expression", "name"),
    [("(SELECT VALUE x FROM a)", "SELECT"), ("isUndefined(a)", "isUndefined()"), ("cast(a AS Decimal)", "Decimal")],
)
def test_the_older_sql_version_lacks_what_came_later(expression: str, name: str) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/iot-rule-sql-version.html"""
    compile_statement("SELECT " + expression + " AS v")
    with pytest.raises(SqlError, match=re.escape(name)):
        compile_statement("SELECT " + expression + " AS v", "2015-10-08")
    with pytest.raises(SqlError, match="beta"):
        compile_statement("SELECT 1 AS v", "beta")


@pytest.mark.parametrize(
    "payload", [b' { "a" : 1.0 ,\n"a":2}\r\n', b"", b"\xff\xfe", b"\x00" * 131_072, b"null", b'"t"']
)
def test_encode_takes_the_payload_byte_for_byte(payload: bytes) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/binary-payloads.html"""
    assert base64.b64decode(run("SELECT encode(*, 'base64') AS p, clientid() AS c", payload)["p"]) == payload
    inner = run("SELECT (SELECT VALUE encode(*, 'base64') FROM list) AS e", '{"list": [1, "b"]}')
    assert inner == {"e": [base64.b64encode(b"1").decode(), base64.b64encode(b"b").decode()]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("floor(huge)", UNDEFINED),
        ("ceil(-huge)", UNDEFINED),
        ("round(huge)", UNDEFINED),
        ("cast(huge AS Int)", UNDEFINED),
        ("cast('1e999999999' AS Int)", UNDEFINED),
        ("cast('1e999' AS Int)", UNDEFINED),
        ("bitand(huge, 1)", UNDEFINED),
        ("substring('abc', huge)", UNDEFINED),
        ("lpad('a', huge)", UNDEFINED),
        ("topic(huge)", UNDEFINED),
        ("parse_time('yyyy', huge)", UNDEFINED),
        ("huge + 1", UNDEFINED),
        ("huge > 1", UNDEFINED),
        ("power(9, 99999999)", UNDEFINED),
        ("power(digits, digits) > 1.12", True),
        ("power(9, 33)", 9**33),
        ("sqrt(huge)", UNDEFINED),
        ("floor(small)", 0),
        ("long * long", Decimal("1.524157875323883675049535156253620E+58")),
        ("-digits < -1.1111111111111111111111111111", True),
        ("trunc(12345678901234567890.123456789, 8)", Decimal("12345678901234567890.12345678")),
        ("trunc(huge, 2)", UNDEFINED),
        ("trunc(1e998, 34)", Decimal("1e998")),
        ("trunc(2.3, 40) + trunc(2.9, -1)", Decimal("4.3")),
        ("trunc(7, 2)", 7),
    ],
)
def test_numbers_have_bounds(expression: str, expected: Value) -> None:
    """Without them some take hours, in which the engine does nothing else, and others raise."""
    numbers = {"huge": "1e999999999", "small": "1e-999999999", "digits": f"1.{'1' * 100_000}", "long": "1234567890" * 3}
    payload = "{" + ", ".join(f'"{name}": {number}' for name, number in numbers.items()) + "}"
    assert value(expression, payload) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "power(0, -1)",
        "power(-2, 0.5)",
        "log('1e999')",
        "exp(1000)",
        "acos(5)",
        "parse_time('yyyy', 1e15)",
        "time_to_epoch('2020 +99:99', 'yyyy Z')",
        "chr(55296)",
        "chr(-1)",
        "topic('²')",
        "get_mqtt_property([1])",
        "regexp_matches('a', '(')",
        "regexp_replace('a', 'a', '$9')",
        "decode('/w==', 'base64')",
    ],
)
def test_what_a_function_cannot_take_is_undefined(expression: str) -> None:
    """Not raised: the rest of the message is selected all the same."""
    assert run("SELECT " + expression + " AS v, 1 AS w FROM 't'") == {"w": 1}


def test_a_number_without_bounds_is_no_json() -> None:
    payload = b'{"a": 1e99999999999999999999}'
    assert run("SELECT * FROM 't'", payload) == payload


def test_new_uuids_differ() -> None:
    first, second = value("newuuid()"), value("newuuid()")
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)


def test_unknown_origins_are_undefined() -> None:
    assert value("principal()", principal=None) is UNDEFINED
    assert value("sourceip()", source_ip=None) is UNDEFINED
    assert value("clientid()", client_id="n/a") == "n/a"
    assert value("get_mqtt_property('format_indicator')", properties=Properties()) == "UNSPECIFIED_BYTES"


def test_payloads_that_are_no_json_object() -> None:
    assert run("SELECT * FROM 't'", b"\xff\x00") == b"\xff\x00"
    assert run("SELECT encode(*, 'base64') AS raw, a, clientid() AS who FROM 't'", b"\xff\x00") == {
        "raw": "/wA=",
        "who": "sensor-1",
    }
    assert run("SELECT * FROM 't'", "[1, 2]") == [1, 2]
    assert run("SELECT a FROM 't'", "[1, 2]") == {}
    assert run("SELECT *, 1 AS one FROM 't'", "5") == {"one": 1}
    assert run("SELECT * FROM 't' WHERE temp > 1", b"NaN") is None
    assert run("SELECT a FROM 't'", "[" * 5000) == {}


def test_variables() -> None:
    variables = "SET @c = (f - 32) * 5 / 9, @d = @c + 1, @o = {'name': 'x'}"
    sql = variables + " SELECT @c AS c, @d AS d, @o.name FROM 't' WHERE @c > 0"
    assert run(sql, '{"f": 50}') == {"c": 10, "d": 11, "name": "x"}
    assert run(sql, '{"f": 30}') is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT",
        "SELECT FROM 't'",
        "DELETE FROM 't'",
        "SELECT a FROM t",
        "SELECT a AS FROM 't'",
        "SELECT a b FROM 't'",
        "SELECT a FROM 't' WHERE",
        "SELECT nosuch() AS x FROM 't'",
        "SELECT cast(a AS Nothing) FROM 't'",
        "SELECT 'open FROM 't'",
        "SELECT @x FROM 't'",
        "SET @a = @a SELECT @a FROM 't'",
        "SET @a = 1, @a = 2 SELECT @a FROM 't'",
        "SELECT 1e1000 FROM 't'",
        "SELECT 1e99999999999999999999 FROM 't'",
        "SELECT * FROM 'a/#/b'",
        "SELECT * FROM 'a+'",
        "SELECT * FROM ''",
    ],
)
def test_what_is_no_statement_is_refused(sql: str) -> None:
    with pytest.raises(SqlError):
        compile_statement(sql)


def test_a_statement_without_from_serves_basic_ingest_only() -> None:
    assert compile_statement("SELECT *").topic_filter is None


def test_a_secret_that_was_not_looked_up_fails_the_rule() -> None:
    with pytest.raises(EvaluationError):
        run("SELECT get_secret('s', 'SecretString', missing, 'arn') AS s FROM 't'")
