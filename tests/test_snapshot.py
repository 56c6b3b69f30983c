"""The catalogue that ornb carries: what is in it, and how it is made."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest

from ornb.errors import OfflineError
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


@pytest.fixture(scope="module")
def recorded(shared_data):
    """The answers of the day: models, endpoints by model, providers."""
    models = json.loads((shared_data / "catalogs" / "catalog-2026-08-22.json").read_text())
    path = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    more = json.loads(gzip.decompress(path.read_bytes()))
    endpoints = {model_id: listing["data"] for model_id, listing in more["endpoints"].items()}
    return models["data"], endpoints, more["providers"]["data"]


def test_every_fact_is_the_recorded_one(day, recorded):
    models, endpoints, providers = recorded
    assert day.models == [{**model, "description": ""} for model in models]
    assert day.providers == providers
    for model_id, listing in day.endpoints.items():
        assert listing == {**endpoints[model_id], "description": ""}


def test_building_it_again_gives_the_same_facts(recorded, tmp_path):
    output = tmp_path / "again.json.gz"
    build.write(build.distil(*recorded, date="2026-08-22"), output)
    assert gzip.decompress(output.read_bytes()) == gzip.decompress(BUNDLED.read_bytes())


def test_the_same_input_gives_the_same_bytes(day, tmp_path):
    files = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for file in files:
        build.write(day, file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "damage",
    [b"", b"no gzip", gzip.compress(b"no json"), gzip.compress(b'{"format": 99}')],
    ids=["empty", "not-gzip", "not-json", "other-format"],
)
def test_a_damaged_file_is_an_offline_error(tmp_path, damage):
    (tmp_path / "bad.json.gz").write_bytes(damage)
    with pytest.raises(OfflineError, match="Reinstall ornb"):
        load(tmp_path / "bad.json.gz")
