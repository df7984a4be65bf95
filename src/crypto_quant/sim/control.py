"""Control messages: SUBSCRIBE and its kin, from bytes to the exchange's reply. Pure.

Replies and errors as on the wire (nested error objects); codes and texts from the exchange's documentation of
2026-07-21 and the captures of its test network of 2026-09-11.
"""

import json
import re
from collections.abc import Callable
from typing import Protocol

from crypto_quant.sim.messages import to_json

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
# documented as "alphanumeric, at most 36 characters"; the official SDK sends UUIDs, hyphens and all
_ID = re.compile(r"[0-9A-Za-z_-]{1,36}")


class Refusal(Exception):
    """A request that gets an error object."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Subscriber(Protocol):
    """The link that a request is about."""

    combined: bool

    def subscribe(self, names: list[str]) -> None:
        """Add streams; raise Refusal when there would be too many."""
        ...

    def unsubscribe(self, names: list[str]) -> None:
        """Remove streams; unknown names are ignored."""
        ...

    def subscriptions(self) -> list[str]:
        """Return the names asked for, also those that mean nothing."""
        ...


def answer(text: str, link: Subscriber) -> bytes:
    """Do what a request asks, and return the reply."""
    try:
        request = json.loads(text)
    except json.JSONDecodeError as problem:
        return _error(3, f"Invalid JSON: expected value at line {problem.lineno} column {problem.colno}", None)
    except (RecursionError, ValueError):
        # too deep, or a number of thousands of digits
        return _error(3, f"Invalid JSON: limit exceeded at line 1 column {len(text)}", None)
    if not _is_text(request):
        return _error(3, f"Invalid JSON: lone surrogate at line 1 column {len(text)}", None)
    where = f"at line 1 column {len(text)}"
    number: object = None
    try:
        if not isinstance(request, dict):
            raise Refusal(2, f"Invalid request: invalid type, expected struct Request {where}")
        number = _request_id(request)
        if "method" not in request:
            raise Refusal(2, f"Invalid request: missing field `method` {where}")
        method = request["method"]
        if not isinstance(method, str) or method not in _METHODS:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            raise Refusal(2, f"Invalid request: unknown variant `{method}`, expected one of {known} {where}")
        result = _HANDLERS[method](request.get("params", []), link)
    except Refusal as refusal:
        return _error(refusal.code, refusal.text, number)
    return to_json({"result": result, "id": number})


def _is_text(request: object) -> bool:
    # Python reads halves of surrogate pairs that no UTF-8 message can carry back
    try:
        to_json(request)
    except UnicodeEncodeError:
        return False
    return True


def _error(code: int, text: str, number: object) -> bytes:
    return to_json({"error": {"code": code, "msg": text}, "id": number})


def _request_id(request: dict[str, object]) -> object:
    number = request.get("id", ...)
    if number is None:
        return None
    if isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63:
        return number
    if isinstance(number, str) and _ID.fullmatch(number):
        return number
    raise Refusal(2, "Invalid request: request ID must be an unsigned integer")


def _names(params: object) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise Refusal(2, "Invalid request: params must be an array of strings")
    return params


def _subscribe(params: object, link: Subscriber) -> object:
    link.subscribe(_names(params))
    return None


def _unsubscribe(params: object, link: Subscriber) -> object:
    link.unsubscribe(_names(params))
    return None


def _list(_params: object, link: Subscriber) -> object:
    return link.subscriptions()


def _property(params: object, size: int) -> list[object]:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise Refusal(2, "Invalid request: property name must be a string")
    if len(params) > size:
        raise Refusal(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise Refusal(0, "Unknown property")
    return params


def _set_property(params: object, link: Subscriber) -> object:
    values = _property(params, 2)
    if len(values) < 2 or not isinstance(values[1], bool):
        raise Refusal(1, "Invalid value type: expected Boolean")
    link.combined = values[1]
    return None


def _get_property(params: object, link: Subscriber) -> object:
    _property(params, 1)
    return link.combined


_HANDLERS: dict[str, Callable[[object, Subscriber], object]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "LIST_SUBSCRIPTIONS": _list,
    "SET_PROPERTY": _set_property,
    "GET_PROPERTY": _get_property,
}
