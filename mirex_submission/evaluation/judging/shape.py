"""Whether JSON has the shape that our own writers give it, asked before anything relies on it.

A shape is a type (str, int, float: any number), None, a set of allowed values, a tuple of alternative shapes, a list
[shape of each element] or [shape, length], or a dict {key: shape}, in which a key that ends with ? may be missing or
null, and the key `str` stands for any.
"""

from __future__ import annotations

from typing import Any

MOST = 2.0**53  # beyond it a float64 counts no more; it also keeps infinity and NaN out


def fault_of(value: Any, shape: Any, where: str = "") -> str:
    """What is wrong with the value, and where in it; "" if nothing is."""
    if isinstance(shape, tuple):
        faults = [fault_of(value, one, where) for one in shape]
        return "" if "" in faults else faults[-1]
    if isinstance(shape, set):
        return "" if isinstance(value, str) and value in shape else f"{where}: not one of {', '.join(sorted(shape))}"
    if isinstance(shape, dict):
        return _fault_of_object(value, shape, where)
    if isinstance(shape, list):
        element, *length = shape
        if not isinstance(value, list) or (length and len(value) != length[0]):
            return f"{where}: not a list of {length[0]}" if length else f"{where}: not a list"
        return next(filter(None, (fault_of(one, element, f"{where}[{k}]") for k, one in enumerate(value))), "")
    if shape is None:
        return "" if value is None else f"{where}: not null"
    if shape is str:
        return "" if isinstance(value, str) else f"{where}: not text"
    is_number = type(value) is int or (type(value) is float and shape is float)
    return "" if is_number and -MOST < value < MOST else f"{where}: not a{'' if shape is float else ' whole'} number"


def _fault_of_object(value: Any, shape: dict[Any, Any], where: str) -> str:
    if not isinstance(value, dict):
        return f"{where}: not an object"
    if str in shape:
        shapes = dict.fromkeys(value, shape[str])
    else:
        named = ((key.removesuffix("?"), key.endswith("?"), inner) for key, inner in shape.items())
        shapes = {name: inner for name, optional, inner in named if not optional or value.get(name) is not None}
    for name, inner in shapes.items():
        if name not in value:
            return f"{where}: without {name!r}"
        if fault := fault_of(value[name], inner, f"{where}.{name}" if where else name):
            return fault
    return ""
