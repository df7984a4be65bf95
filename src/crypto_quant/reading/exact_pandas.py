"""Columns of exact decimals that pandas can compute with: sums, differences and products stay exact.

pandas' own column of Arrow decimals gives every result the digits that its operands could have at most, and fails where
they exceed 38: ``price * quantity`` would need 41. Here they are as many as the values at hand need. A quotient has no
last digit: it is a float64, as is all that numpy's functions and floats have a part in.
"""

from collections.abc import Callable
from decimal import Context, Decimal
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.reading.narrow import DIGITS_128, DIGITS_MAX, decimal_type, digits_of
from crypto_quant.reading.nearest import nearest_floats

_Arrow: Any = pd.arrays.ArrowExtensionArray  # the stubs know little of it
_EXACT = {
    "add": pc.add, "radd": pc.add, "sub": pc.subtract, "rsub": pc.subtract, "mul": pc.multiply, "rmul": pc.multiply,
}  # fmt: skip
# numpy's functions that have an operator, and so an exact result
_OPERATORS = frozenset({
    "add", "subtract", "multiply", "negative", "positive", "absolute",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
})  # fmt: skip
_OHLC = (("open", "first"), ("high", "max"), ("low", "min"), ("close", "last"))
# what has no last digit either
_STATISTICS = frozenset({"mean", "median", "std", "var", "sem", "skew", "kurt", "prod"})
_WIDE = Context(prec=DIGITS_MAX)


class ExactDtype(pd.ArrowDtype):
    """Arrow's decimals, computed with exactly."""

    @classmethod
    def construct_array_type(cls) -> type["ExactArray"]:
        """Return the type of the columns."""
        return ExactArray


class ExactArray(_Arrow):  # type: ignore[misc]
    """A column of exact decimals."""

    def __new__(cls, values: pa.Array | pa.ChunkedArray | None = None) -> Any:  # noqa: ANN401
        """Return a column; one of pandas' own of what is no decimal, as of the result of a comparison."""
        return object.__new__(cls) if values is None or pa.types.is_decimal(values.type) else _Arrow(values)

    def __init__(self, values: pa.Array | pa.ChunkedArray) -> None:
        super().__init__(values)
        self._dtype = ExactDtype(values.type)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy is made elsewhere."""
        return type(self), (self._pa_array,)

    def _from_pyarrow_array(self, pa_array: pa.Array | pa.ChunkedArray) -> Any:  # noqa: ANN401
        return type(self)(pa_array)

    def _floats(self) -> Any:  # noqa: ANN401
        chunks = [nearest_floats(chunk) for chunk in self._pa_array.chunks]
        return _Arrow(pa.chunked_array(chunks, type=pa.float64()))

    # -- operators ----------------------------------------------------------------------------------------

    def _arith_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401
        exact = _decimals(other)
        if exact is None or op.__name__ not in _EXACT:
            if op.__name__ in ("floordiv", "mod", "rfloordiv", "rmod") and exact is not None:
                return self._by_value(exact, op)
            return op(self._floats(), other if exact is None else _as_floats(exact))
        left, right = (exact, self._pa_array) if op.__name__[0] == "r" else (self._pa_array, exact)
        digits = digits_of(left), digits_of(right)
        scales = left.type.scale, right.type.scale
        if "mul" in op.__name__:
            precision, scale = sum(digits) + 1, sum(scales)
        else:
            scale = max(scales)
            precision = max(digits[0] - scales[0], digits[1] - scales[1]) + scale + 1
        if precision > DIGITS_MAX:
            raise OverflowError(
                f"the exact result may have {precision} digits, more than the {DIGITS_MAX} that a decimal holds: "
                "round() one of them before, or compute with .astype('float64')"
            )
        narrow = [
            value.cast(decimal_type(width, value.type.scale, wide=precision > DIGITS_128))
            for value, width in zip((left, right), digits, strict=True)
        ]
        result = _EXACT[op.__name__](*narrow)
        # one type for all results of a scale, whatever the values: what was computed apart can be put together
        return type(self)(result.cast(decimal_type(DIGITS_128 if precision <= DIGITS_128 else DIGITS_MAX, scale)))

    def _by_value(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401
        right = [other.as_py()] * len(self) if isinstance(other, pa.Scalar) else other.to_pylist()
        values = [
            None if one is None or two is None or not (one if op.__name__[0] == "r" else two) else op(one, two)
            for one, two in zip(self._pa_array.to_pylist(), right, strict=True)
        ]
        scale = max(self._pa_array.type.scale, other.type.scale)
        return type(self)(pa.array(values, decimal_type(DIGITS_MAX, scale)))

    def _cmp_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:  # noqa: ANN401
        exact = _decimals(other)
        if exact is None or isinstance(exact, pa.Scalar):
            return super()._cmp_method(other, op)
        # of the same width, whatever their scales
        scale = max(self._pa_array.type.scale, exact.type.scale)
        left, right = (each.cast(decimal_type(DIGITS_MAX, scale)) for each in (self._pa_array, exact))
        return _Arrow(left)._cmp_method(_Arrow(right), op)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return what a function of numpy's makes of it; but for the operators' own, of the floats."""
        if ufunc.__name__ in _OPERATORS:
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        floats = [each._floats() if isinstance(each, ExactArray) else each for each in inputs]
        return getattr(ufunc, method)(*floats, **kwargs)

    # -- what runs along a column, or over groups of it -----------------------------------------------------

    def _accumulate(self, name: str, *, skipna: bool = True, **kwargs: Any) -> Any:  # noqa: ANN401
        if name == "cumprod":
            return self._floats()._accumulate(name, skipna=skipna, **kwargs)
        steps: dict[str, Callable[..., Any]] = {"cumsum": _WIDE.add, "cummax": max, "cummin": min}
        step = steps[name]
        values = self._pa_array.to_pylist()
        if skipna or None not in values:
            running = accumulate((each for each in values if each is not None), step)
            found = [None if each is None else next(running) for each in values]
        else:
            until = values.index(None)
            found = [*accumulate(values[:until], step), *[None] * (len(values) - until)]
        kind = self._pa_array.type
        return type(self)(pa.array(found, _summed(kind) if name == "cumsum" else kind))

    def _groupby_op(self, *, how: str, **kwargs: Any) -> Any:  # noqa: ANN401
        if how == "ohlc":
            # pandas makes a frame of it, with these columns
            return {name: self._groupby_op(how=each, **kwargs) for name, each in _OHLC}
        if how in _STATISTICS or how == "cumprod":
            return self._floats()._groupby_op(how=how, **kwargs)
        if how in ("cumsum", "cummax", "cummin"):
            return self._accumulate_groups(how, kwargs["ids"])
        return super()._groupby_op(how=how, **kwargs)

    def _accumulate_groups(self, how: str, ids: Any) -> Any:  # noqa: ANN401 - a numpy array: the group of each row, or -1
        order = np.argsort(ids, kind="stable")
        bounds = np.flatnonzero(np.diff(ids[order], prepend=-2, append=np.iinfo(np.int64).max))
        found = self[:0]._accumulate(how)
        parts = [found]
        for start, end in pairwise(bounds):
            part = self.take(order[start:end])
            if ids[order[start]] < 0:  # of no group
                part = self._from_sequence([None] * len(part), dtype=self.dtype)
            parts.append(part._accumulate(how))
        return self._concat_same_type(parts).take(np.argsort(order, kind="stable"))

    def _reduce(self, name: str, *, skipna: bool = True, keepdims: bool = False, **kwargs: Any) -> Any:  # noqa: ANN401
        if name in _STATISTICS:
            return self._floats()._reduce(name, skipna=skipna, keepdims=keepdims, **kwargs)
        return super()._reduce(name, skipna=skipna, keepdims=keepdims, **kwargs)

    def _quantile(self, qs: Any, interpolation: str) -> Any:  # noqa: ANN401
        return self._floats()._quantile(qs, interpolation)

    def interpolate(self, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return floats in the place of what is missing."""
        return self._floats().interpolate(**kwargs)


def _summed(kind: pa.DataType) -> pa.DataType:
    return decimal_type(DIGITS_128 if kind.bit_width == 128 else DIGITS_MAX, kind.scale)


def _as_floats(exact: Any) -> Any:  # noqa: ANN401
    return float(exact.as_py()) if isinstance(exact, pa.Scalar) else ExactArray(exact)._floats()


def _decimals(value: Any) -> Any:  # noqa: ANN401
    """Return what is exact as Arrow's decimals, an array or a scalar; None for all else."""
    if isinstance(value, Decimal) and value.is_finite():
        return pa.scalar(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return pa.scalar(Decimal(int(value)))
    if isinstance(value, _Arrow):
        found = value._pa_array
    elif isinstance(value, np.ndarray | list | pd.api.extensions.ExtensionArray):
        try:
            found = pa.array(value, from_pandas=True)
        except (pa.ArrowException, TypeError):
            return None
    else:
        return None
    if pa.types.is_integer(found.type):
        found = found.cast(pa.decimal128(20, 0))
    if not pa.types.is_decimal(found.type):
        return None
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
