"""The API reference has every public module, and knows what is in it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("air", "compat", "data", "rllib", "serve", "train", "tune", "util")
PAGES = sorted((ROOT / "docs/api").glob("*.md"))
# Public modules without a section of their own: what is in them is described with the package above, is a name of earlier
# releases for what is described elsewhere, is a command, or is told about on a page of the guides.
LEFT_OUT = re.compile(
    r"""aktis\.(?:
      cli | dag\..* | util\.(?:collective|joblib|multiprocessing)\..* | experimental\..*
      | air\.(?:constants|exceptions|function_run|html|session_host|integrations(?:\.(?:reporting|results))?)
      | data\.(?:datasource|preprocessors)\..* | data\.(?:dataset|dataset_pipeline|iterator|preprocessor|context|exceptions)
      | tune\.(?:analysis|cli|execution|experiment|integration|logger|schedulers|simulation|stopper|suggest)(?:\..*)?
      | tune\.(?:trainable|utils)(?:\..*)?
      | tune\.(?:sample|session|trial|tune|tuner|tune_config|result|error) | tune\.search\..*
      | train\.(?:callbacks|huggingface|lightgbm|lightning|rl|sklearn|tensorflow|torch|xgboost)\..*
      | train\.(?:hf_transformers|transformers|horovod|mosaic|batch_predictor|checkpoint|constants|data_config)(?:\..*)?
      | train\.(?:data_parallel_trainer|error|predictor)
      | rllib\.(?:agents|cli|examples|tuned_examples|html_report)(?:\..*)?
      | rllib\.(?:algorithms|connectors|env|evaluation|execution|models|offline|policy|utils)(?:\..*)?
      | serve\.(?:cli|generated|__main__|deployment_graph|exceptions|batching|multiplex)(?:\..*)?
      | (?:job_config|logging_config|object_ref)
    )""",
    re.VERBOSE,
)


@pytest.fixture
def api_names(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("api_names")


def shown() -> list[str]:
    return [name for page in PAGES for name in re.findall(r"^::: (aktis[\w.]*)$", page.read_text(), re.MULTILINE)]


def test_every_public_module_has_a_section(api_names: ModuleType) -> None:
    public = {name for name in api_names.sources() if not re.search(r"\._", name) and not LEFT_OUT.fullmatch(name)}
    modules = shown()
    assert len(modules) == len(set(modules))
    assert public - set(modules) == set(), "a page in docs/api needs a line `::: MODULE`; or see LEFT_OUT above"
    assert set(modules) - {*api_names.sources()} == set()


def test_what_packages_list_leads_to_where_it_is_defined(api_names: ModuleType) -> None:
    """What is read from the sources is what Python finds."""
    for module in ("aktis", "aktis.air", "aktis.data", "aktis.serve", "aktis.tune"):
        for name in api_names.public_names(module):
            home, _, own = api_names.origin(module, name).rpartition(".")
            value = getattr(importlib.import_module(module), name)
            assert getattr(importlib.import_module(home), own) is value, (module, name)


def test_everything_that_packages_list_is_described(api_names: ModuleType) -> None:
    """Whatever a library's own package lists is on a page, wherever it is defined."""
    described = {api_names.origin(module, name) for module in shown() for name in api_names.public_names(module)}
    for module in ("aktis", *(f"aktis.{library}" for library in LIBRARIES)):
        for name in api_names.public_names(module):
            found = api_names.origin(module, name)
            assert found in described or found in api_names.sources(), (module, name)
