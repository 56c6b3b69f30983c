"""Others read what ornb reads, or the difference is in the list with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.fuzz.answers import ANSWERS, LENGTH, answer
from tests.fuzz.differences import DIFFERENCES, HERE, VERSIONS, Panel, differing, installed, table

# The official package reads pages with jsonpath, which looks for syntax that Python 3.14 drops.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:ast\.\w+ is deprecated:DeprecationWarning:jsonpath\.jsonpath"
)


@pytest.fixture(scope="module")
def panel():
    """Who reads: of the others those that are no older than the list."""
    old = [name for name in HERE if _older(installed(name), VERSIONS.get(name, "0"))]
    with Panel(tuple(name for name in HERE if name not in old)) as panel:
        yield panel


def _older(version: str, than: str) -> bool:
    one, other = (tuple(map(int, text.split(".")[:2])) for text in (version, than))
    return one < other


@settings(max_examples=300)
@given(read=ANSWERS)
def test_whoever_reads_an_answer_finds_what_ornb_finds(panel, read) -> None:
    panel.check(read)


def test_what_a_reader_loses_is_told() -> None:
    plain = answer(bytes([1]) + bytes(LENGTH))
    found = plain.said._asdict()
    assert not differing(plain, found)
    assert differing(plain, found | {"text": ""}).keys() == {"text"}
    assert differing(plain, found | {"usage": {}}).keys() == plain.said.usage.keys()
    assert differing(plain, "ValueError: no").keys() == {"*"}


def test_ornb_has_no_difference_that_is_excused() -> None:
    assert not [each.told for each in DIFFERENCES if "ornb" in each.who]


def test_the_table_in_the_docs_is_the_list() -> None:
    page = (Path(__file__).parents[1] / "docs" / "answers.md").read_text(encoding="utf-8")
    assert table() in page
    assert all(f"{name} {version}" in page for name, version in VERSIONS.items())
