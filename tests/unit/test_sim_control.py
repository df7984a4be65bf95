import json
from typing import Any

import pytest

from crypto_quant.sim.control import Refusal, answer


class Viewer:
    def __init__(self) -> None:
        self.combined = False
        self.names: list[str] = []

    def subscribe(self, names: list[str]) -> None:
        if len(self.names) + len(names) > 3:
            raise Refusal(4, "Too many subscriptions")
        self.names += names

    def unsubscribe(self, names: list[str]) -> None:
        self.names = [name for name in self.names if name not in names]

    def subscriptions(self) -> list[str]:
        return self.names


def ask(request: object, viewer: Viewer | None = None) -> Any:
    text = request if isinstance(request, str) else json.dumps(request)
    return json.loads(answer(text, viewer or Viewer()))


def test_the_documented_conversation() -> None:
    viewer = Viewer()
    assert ask({"method": "SUBSCRIBE", "params": ["a@trade", "b@trade"], "id": 1}, viewer) == {"result": None, "id": 1}
    assert ask({"method": "UNSUBSCRIBE", "params": ["a@trade"], "id": 2}, viewer) == {"result": None, "id": 2}
    assert ask({"method": "LIST_SUBSCRIPTIONS", "id": 3}, viewer) == {"result": ["b@trade"], "id": 3}
    assert ask({"method": "SET_PROPERTY", "params": ["combined", True], "id": 4}, viewer) == {"result": None, "id": 4}
    assert viewer.combined is True
    assert ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 5}, viewer) == {"result": True, "id": 5}


@pytest.mark.parametrize(
    "number", [0, -1, 2**63 - 1, None, "abc9", "x" * 36, "5b0e0f4c-8b0b-4a39-9b8c-5b8f2c1f6d3e"]
)  # fmt: skip
def test_ids_come_back(number: object) -> None:
    assert ask({"method": "LIST_SUBSCRIPTIONS", "id": number}) == {"result": [], "id": number}


@pytest.mark.parametrize("number", [True, 1.5, 2**63, "x" * 37, "", "a b", [], {}])
def test_other_ids_are_refused(number: object) -> None:
    error = ask({"method": "LIST_SUBSCRIPTIONS", "id": number})["error"]
    assert error == {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}


def test_a_missing_id_is_refused() -> None:
    assert ask({"method": "LIST_SUBSCRIPTIONS"})["error"]["code"] == 2


@pytest.mark.parametrize(
    ("request_", "code", "gist"),
    [
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0, "Unknown property"),
        ({"method": "GET_PROPERTY", "params": ["colour"], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}, 1, "Invalid value type: expected Boolean"),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1, "expected Boolean"),
        ({"method": "SET_PROPERTY", "params": [], "id": 1}, 2, "property name must be a string"),
        ({"method": "GET_PROPERTY", "params": [7], "id": 1}, 2, "property name must be a string"),
        ({"method": "GET_PROPERTY", "params": ["combined", True], "id": 1}, 2, "too many parameters"),
        ({"method": "SET_PROPERTY", "params": ["combined", True, 1], "id": 1}, 2, "too many parameters"),
        ({"method": "subscribe", "params": [], "id": 1}, 2, "unknown variant `subscribe`, expected one of `SUBSCRIBE`"),
        ({"method": 7, "id": 1}, 2, "unknown variant `7`"),
        ({"id": 1}, 2, "missing field `method` at line 1 column"),
        ({"method": "SUBSCRIBE", "params": "a@trade", "id": 1}, 2, "params"),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "params"),
        ({"method": "SUBSCRIBE", "params": ["a", "b", "c", "d"], "id": 1}, 4, "Too many subscriptions"),
        ([], 2, "Invalid request"),
        ("7", 2, "Invalid request"),
        ("{", 3, "Invalid JSON: expected value at line 1 column 2"),
        ("", 3, "Invalid JSON: expected value at line 1 column 1"),
        ("\n oops", 3, "Invalid JSON: expected value at line 2 column 2"),
        ("[" * 100_000, 3, "Invalid JSON"),
        ("1" * 10_000, 3, "Invalid JSON"),
        ('{"method":"\\ud800","params":["\\udfff"],"id":"\\ud83d"}', 3, "Invalid JSON: lone surrogate"),
    ],
)
def test_errors(request_: object, code: int, gist: str) -> None:
    reply = ask(request_)
    assert reply["error"]["code"] == code
    assert gist in reply["error"]["msg"]
    assert reply["id"] == (1 if isinstance(request_, dict) else None)


def test_an_error_changes_nothing() -> None:
    viewer = Viewer()
    ask({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, viewer)
    ask({"method": "SUBSCRIBE", "params": ["a@trade", 5], "id": 1}, viewer)
    assert (viewer.combined, viewer.names) == (False, [])
