"""Stands in for Aktis when the conformance tests ask Ray: ``import aktis`` gives Ray, in drivers and workers."""

import importlib
import sys

for _name in (
    "",
    ".actor",
    ".exceptions",
    ".experimental",
    ".internal",
    ".util.placement_group",
    ".util.scheduling_strategies",
):
    importlib.import_module("ray" + _name)
for _name, _module in list(sys.modules.items()):
    if _name == "ray" or _name.startswith("ray."):
        sys.modules["aktis" + _name[3:]] = _module
