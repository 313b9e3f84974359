"""A package from the configured index, through the whole engine."""

from __future__ import annotations

import pytest

import aktis


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_package_from_the_index(tmp_path, monkeypatch):
    monkeypatch.setenv("AKTIS_ENV_CACHE", str(tmp_path / "cache"))
    aktis.init(num_cpus=1, log_to_driver=False)

    @aktis.remote(runtime_env={"pip": ["iniconfig==1.1.1"]})
    def version():
        import importlib.metadata

        import iniconfig

        return importlib.metadata.version("iniconfig"), iniconfig.__file__

    try:
        number, path = aktis.get(version.remote(), timeout=200)
    finally:
        aktis.shutdown()
    assert number == "1.1.1"
    assert path.startswith(str(tmp_path / "cache"))
