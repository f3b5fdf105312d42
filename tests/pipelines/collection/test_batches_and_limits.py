from __future__ import annotations

import hashlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.collection.batches import read_batch
from pipelines.collection.errors import KeysError, Reason, RefusedError
from pipelines.collection.keys import read_keys
from pipelines.collection.limits import Limits, TokenBucket

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)
ROW = st.fixed_dictionaries(
    {
        "unit_id": st.text(min_size=1).filter(lambda text: not text.isspace()) | st.integers(-(2**63), 2**64 - 1),
        "event": st.text(min_size=1).filter(lambda text: not text.isspace()),
        "occurred_at": st.datetimes().map(lambda moment: moment.replace(year=2026).isoformat()),
        "value": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63),
    },
    optional={"note": JSON.filter(lambda value: "\ud800" not in repr(value))},
)


def encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.lists(ROW, min_size=1, max_size=5).filter(encodable))
def test_lines_say_what_was_sent(rows: list[dict[str, object]]) -> None:
    batch = read_batch(json.dumps(rows, ensure_ascii=False).encode(), "events", Limits())
    lines = batch.lines.split(b"\n")
    assert (batch.rows, lines.pop()) == (len(rows), b"")
    assert [orjson.loads(line) for line in lines] == orjson.loads(json.dumps(rows, ensure_ascii=False).encode())


@given(JSON.filter(encodable))
def test_any_other_json_is_refused_by_name(content: object) -> None:
    with pytest.raises(RefusedError) as caught:
        read_batch(json.dumps(content, ensure_ascii=False).encode(), "exposures", Limits())
    assert caught.value.reason in {Reason.NOT_A_BATCH, Reason.EMPTY_BATCH, Reason.INVALID_ROW}


def test_a_message_never_holds_a_value_that_was_sent() -> None:
    row = {"unit_id": "anna@example.org", "event": "purchase", "occurred_at": "anna@example.org"}
    with pytest.raises(RefusedError) as caught:
        read_batch(json.dumps([row]).encode(), "events", Limits())
    assert "anna" not in str(caught.value)


@given(
    rate=st.floats(1, 1e5),
    burst=st.floats(1, 1e5),
    sends=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 1000)), max_size=50),
)
def test_no_key_gets_more_than_its_rate_its_burst_and_one_batch(rate, burst, sends) -> None:
    bucket, now, taken = TokenBucket(rate=rate, burst=burst, now=0.0), 0.0, 0
    for pause, rows in sends:
        now += pause
        if bucket.wait(now=now) == 0:
            assert taken <= burst + rate * now + 1e-6 * (1 + rate * now)
            bucket.take(rows)
            taken += rows


def test_waiting_as_long_as_told_is_enough() -> None:
    bucket = TokenBucket(rate=10, burst=5, now=0)
    bucket.take(30)
    wait = bucket.wait(now=0)
    assert wait == pytest.approx(2.6)
    assert bucket.wait(now=wait - 0.01) > 0
    assert bucket.wait(now=wait + 1e-9) == 0


SECRET = "a-long-random-secret"


def test_keys_come_from_a_file_or_from_the_environment(tmp_path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# for the shop\n\nshop : {SECRET}:with-colons \r\nweb:{SECRET}\n")
    keys = read_keys(path=path, variable="ignored:where-a-file-is-given")
    assert keys.name_of(f"{SECRET}:with-colons".encode()) == "shop"
    assert keys.name_of(SECRET.encode()) == "web"
    assert keys.name_of(b"") is None
    assert SECRET not in repr(keys)
    assert keys.digests["web"] == hashlib.sha256(SECRET.encode()).digest()
    assert read_keys(path=None, variable=f"web:{SECRET},").name_of(SECRET.encode()) == "web"
    assert not read_keys(path=None, variable=None)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", SECRET, f"Web:{SECRET}", "web:short-canary", f"web:{SECRET}\nweb:{SECRET}2", f"web:{SECRET}é"],
)
def test_keys_that_cannot_be_used_are_refused_without_being_repeated(tmp_path, text) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(KeysError) as caught:
        read_keys(path=path, variable=None)
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_missing_file_of_keys_is_an_error_and_not_an_open_door(tmp_path) -> None:
    with pytest.raises(KeysError, match="cannot be read"):
        read_keys(path=tmp_path / "missing", variable=None)
    with pytest.raises(KeysError, match="holds no key"):
        read_keys(path=None, variable="")
