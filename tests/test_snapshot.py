"""The catalogue that ornb carries: what is in it, and how it is made."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest

from ornb.errors import OfflineError
from ornb.offline import OfflineServer
from ornb.offline.snapshot import BUNDLED, build, load


@pytest.fixture(scope="module")
def day():
    return load()


def tier_counts(models):
    """free / <= 0.0001 / <= 0.001 / above / router, by max(prompt, completion) in USD a token."""
    counts = [0] * 5
    for model in models:
        prices = [Decimal(model["pricing"][key]) for key in ("prompt", "completion")]
        if min(prices) < 0:
            counts[4] += 1
            continue
        limits = (Decimal(0), Decimal("0.0001"), Decimal("0.001"), max(prices))
        counts[next(i for i, limit in enumerate(limits) if max(prices) <= limit)] += 1
    return counts


def test_the_price_tiers_are_those_of_the_day(day):
    assert tier_counts(day.models) == [22, 387, 7, 0, 5]


def test_its_date_and_sizes(day):
    assert day.date == "2026-08-22"
    assert len(day.models) == 421
    assert len(day.providers) == 103
    assert set(day.endpoints) == {model["id"] for model in day.models}


def test_no_description_is_carried(day):
    records = [*day.models, *day.endpoints.values()]
    assert {record["description"] for record in records} == {""}


def test_it_is_well_under_a_megabyte():
    assert BUNDLED.stat().st_size < 200_000


def test_every_fact_is_the_recorded_one(day, shared_data):
    recorded = json.loads((shared_data / "catalogs" / "catalog-2026-08-22.json").read_text())
    assert day.models == [{**model, "description": ""} for model in recorded["data"]]
    path = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    more = json.loads(gzip.decompress(path.read_bytes()))
    assert day.providers == more["providers"]["data"]
    for model_id, listing in day.endpoints.items():
        assert listing == {**more["endpoints"][model_id]["data"], "description": ""}


def test_building_it_again_gives_the_same_facts(day, shared_data, tmp_path):
    output = tmp_path / "again.json.gz"
    catalog = shared_data / "catalogs" / "catalog-2026-08-22.json"
    endpoints = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    arguments = ["--catalog", catalog, "--endpoints", endpoints, "--output", output]
    assert build.main([str(argument) for argument in arguments]) == 0
    assert gzip.decompress(output.read_bytes()) == gzip.decompress(BUNDLED.read_bytes())


def test_the_same_input_gives_the_same_bytes(day, tmp_path):
    files = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for file in files:
        build.write(day, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_live_api_gives_back_what_it_serves(day, monkeypatch):
    monkeypatch.setattr(build, "PAUSE_S", 0)
    with OfflineServer(model="off") as server:
        fetched = build.fetch(server.base_url, token=server.token)
    assert fetched.models == day.models
    assert fetched.endpoints == day.endpoints
    assert fetched.providers == day.providers


def test_a_bare_list_of_models_needs_a_date(tmp_path, capsys):
    catalog, output = tmp_path / "models.json", tmp_path / "out.json.gz"
    catalog.write_text('[{"id": "lab/a", "description": "prose"}]')
    arguments = ["--catalog", str(catalog), "--output", str(output)]
    assert build.main(arguments) == 1
    assert "--date" in capsys.readouterr().err
    assert build.main([*arguments, "--date", "2026-01-02"]) == 0
    assert load(output).models == [{"id": "lab/a", "description": ""}]


@pytest.mark.parametrize(
    "damage",
    [b"", b"no gzip", gzip.compress(b"no json"), gzip.compress(b'{"format": 99}')],
    ids=["empty", "not-gzip", "not-json", "other-format"],
)
def test_a_damaged_file_is_an_offline_error(tmp_path, damage):
    (tmp_path / "bad.json.gz").write_bytes(damage)
    with pytest.raises(OfflineError, match="Reinstall ornb"):
        load(tmp_path / "bad.json.gz")


def test_an_api_that_is_not_there_writes_nothing(tmp_path, capsys):
    output = tmp_path / "out.json.gz"
    arguments = ["--base-url", "http://127.0.0.1:9/api/v1", "--output", str(output)]
    assert build.main(arguments) == 1
    assert "Nothing was written" in capsys.readouterr().err
    assert not output.exists()
