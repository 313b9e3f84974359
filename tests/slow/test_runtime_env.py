"""A package from the configured index, through the whole engine."""

from __future__ import annotations

import pytest

import aktis


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_package_from_the_index(tmp_path, monkeypatch):
    monkeypatch.setenv("AKTIS_ENV_CACHE", str(tmp_path / "cache"))
    aktis.init(num_cpus=1, log_to_driver=False)

    @aktis.remote(runtime_env={"pip": ["toolz==0.12.1"]})
    def version():
        import toolz

        return toolz.__version__, toolz.__file__

    try:
        number, path = aktis.get(version.remote(), timeout=200)
    finally:
        aktis.shutdown()
    assert number == "0.12.1"
    assert path.startswith(str(tmp_path / "cache"))
