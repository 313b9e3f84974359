"""All named functions, by the name that :class:`FunctionExpr` has for them: ``"abs"``, ``"str.upper"``."""

from __future__ import annotations

from aktis.data.expressions._functions import BASIC, Function
from aktis.data.expressions._nested import NESTED
from aktis.data.expressions._strings import STRINGS
from aktis.data.expressions._times import TIMES

FUNCTIONS: dict[str, Function] = {
    **BASIC,
    **{f"str.{name}": function for name, function in STRINGS.items()},
    **{f"dt.{name}": function for name, function in TIMES.items()},
    **NESTED,
}
