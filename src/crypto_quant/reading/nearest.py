"""Decimals as floats: of each the float64 that is nearest to it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# below it an integer is exactly a float64, so that one division rounds once
_FLOAT_EXACT = 2**53


def nearest_floats(array: pa.Array) -> pa.Array:
    """Return each decimal as the float64 that is nearest to it."""
    scale = array.type.scale
    if pa.types.is_decimal128(array.type) and array.buffers()[1] is not None:
        # two little-endian words a value: the low one is the value as long as the high one only repeats its sign
        words = np.frombuffer(array.buffers()[1], dtype="<i8").reshape(-1, 2)[array.offset :][: len(array)]
        low, high = words[:, 0], words[:, 1]
        if bool(((low >> 63) == high).all()) and bool((np.abs(low) < _FLOAT_EXACT).all()) and scale <= 22:
            mask = None if not array.null_count else pc.is_null(array).to_numpy(zero_copy_only=False)
            return pa.array(low / np.float64(10**scale), mask=mask)
    return pa.array([None if each is None else float(each) for each in array.to_pylist()], pa.float64())
