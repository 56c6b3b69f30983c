"""The base of all widgets refuses what would be lost in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import traitlets as t

import ornb.notebook
from ornb.errors import ConfigError, near
from ornb.notebook.base import BadValue, Widget, describe, module, sheet


class Counter(Widget):
    """A widget with one trait that has a rule of its own."""

    count = t.Int(0).tag(sync=True)
    limit = t.Int(10).tag(sync=True)

    @t.validate("count")
    def _small(self, proposal):
        if proposal["value"] > self.limit:
            raise BadValue(f"count is {proposal['value']}; at most {self.limit}")
        return proposal["value"]


def test_an_unknown_argument_is_refused_with_the_name_it_may_have_meant():
    with pytest.raises(ConfigError, match=r"no 'conut'\. Did you mean 'count'"):
        Counter(conut=3)


def test_an_unknown_attribute_is_refused_too():
    counter = Counter()
    with pytest.raises(ConfigError, match="Did you mean 'limit'"):
        counter.limt = 3


def test_underscore_attributes_are_the_widgets_own_business():
    counter = Counter()
    counter._cache = 3
    assert counter._cache == 3


@pytest.mark.parametrize(
    "make", [lambda: Counter(count="x"), lambda: setattr(Counter(), "count", "x")]
)
def test_a_wrong_type_is_an_error_of_our_family(make):
    with pytest.raises(ConfigError, match="expected an int"):
        make()


def test_a_refused_value_leaves_all_as_it_was():
    counter = Counter(count=1)
    with pytest.raises(ConfigError), counter.hold_trait_notifications():
        counter.count = 99
    assert counter.count == 1


def test_jupyters_own_arguments_are_taken():
    assert Counter(layout={"width": "50%"}).layout.width == "50%"


def test_what_the_page_sends_arrives():
    counter = Counter()
    counter.set_state({"count": 5})
    assert (counter.count, counter.error) == (5, "")


def test_an_observers_exception_is_shown_in_the_widget():
    counter = Counter()

    def broken(_change):
        raise KeyError("price")

    counter.observe(broken, names=["count"])
    counter.set_state({"count": 5})
    assert counter.error.startswith("KeyError: 'price' (test_widget_base.py, line ")


def test_a_value_the_page_may_not_send_is_shown_and_undone():
    counter = Counter()
    counter.set_state({"count": 99})
    assert (counter.count, counter.error) == (0, "count is 99; at most 10")


def test_after_a_refusal_the_page_is_told_what_counts():
    class Told(Counter):
        def send_state(self, key=None):
            self._told = key

    counter = Told()
    counter.set_state({"count": 99})
    assert counter._told == ["count"]


def test_the_next_gesture_clears_the_error():
    counter = Counter(error="old")
    counter.set_state({"count": 1})
    assert counter.error == ""


def test_guard_shows_our_errors_by_their_message_alone():
    counter = Counter()
    with counter.guard():
        raise ConfigError("temperature is 3; the API takes 0 to 2")
    assert counter.error == "temperature is 3; the API takes 0 to 2"


def test_guard_lets_an_interrupt_through():
    counter = Counter()
    with pytest.raises(KeyboardInterrupt), counter.guard():
        raise KeyboardInterrupt


def test_an_exception_never_raised_is_described_without_a_place():
    assert describe(ValueError("x")) == "ValueError: x"


def test_nothing_is_suggested_when_nothing_is_near():
    assert near("zzzzz", ["count", "limit"]) == ""


def test_the_bundle_has_a_text_that_a_reader_understands():
    data, _metadata = Counter()._repr_mimebundle_()
    assert data["text/plain"] == "Counter (needs a running kernel)"
    assert "application/vnd.jupyter.widget-view+json" in data


# ------------------------------------------------------------------ sheets and scripts of parts

FOLDER = Path(ornb.notebook.__file__).parent
DRAWN = [p for p in sorted(FOLDER.glob("*.js")) if "export default" in p.read_text("utf-8")]


@pytest.mark.parametrize("place", DRAWN, ids=lambda place: place.stem)
def test_every_rule_of_a_sheet_is_about_its_widget(place):
    css = re.sub(r"/\*.*?\*/", "", sheet(place), flags=re.DOTALL)
    assert "@import" not in css
    css = re.sub(r"@keyframes [\w-]+ \{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", css)
    selectors = [s for rule in re.findall(r"([^{}]+)\{", css) for s in _split(rule)]
    own = re.compile(rf"\.ornb-{place.stem}(?![\w-])")
    assert [s for s in selectors if not own.search(s) and "@" not in s] == []


def _split(selectors: str) -> list[str]:
    """Selectors between commas that stand in no brackets."""
    return [s.strip() for s in re.split(r",(?![^(]*\))", selectors) if s.strip()]


@pytest.mark.parametrize("place", DRAWN, ids=lambda place: place.stem)
def test_a_script_is_one_module_in_one_scope(place):
    script = module(place)
    assert re.findall(r"^import ", script, re.MULTILINE) == []
    assert len(re.findall(r"^export ", script, re.MULTILINE)) == 1
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert sorted(set(names)) == sorted(names), "two parts have a name in common"


@pytest.mark.parametrize("place", sorted(FOLDER.glob("*.js")), ids=lambda place: place.stem)
def test_a_script_imports_what_it_uses_under_its_own_name(place):
    """Joining does not rename, so neither may an import; and each name is used."""
    text = place.read_text("utf-8")
    for names, part in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)"', text, re.MULTILINE):
        exported = (FOLDER / part).read_text("utf-8")
        for name in (each.strip() for each in names.split(",")):
            assert re.search(rf"^export .*\b{name}\b", exported, re.MULTILINE), (name, part)
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is not used"


def test_a_part_that_several_need_is_there_once(tmp_path):
    (tmp_path / "base.js").write_text("export const one = 1;\n")
    (tmp_path / "two.js").write_text(
        'import { one } from "./base.js";\n\nexport const two = 2 * one;\n'
    )
    (tmp_path / "toy.js").write_text(
        'import {\n  one,\n} from "./base.js";\nimport { two } from "./two.js";\n'
        "export default { render: () => one + two };\n"
    )
    assert module(tmp_path / "toy.py").split("\n") == [
        *("const one = 1;", "", "", "const two = 2 * one;", ""),
        *("export default { render: () => one + two };", ""),
    ]


def test_a_shared_sheet_is_dressed_for_its_widget(tmp_path):
    (tmp_path / "look.css").write_text(".ornb .ornb-text { color: red }\n")
    (tmp_path / "toy.css").write_text('@import "./look.css";\n.ornb-toy { margin: 0 }\n')
    assert sheet(tmp_path / "toy.py") == (
        ".ornb-toy .ornb-text { color: red }\n\n.ornb-toy { margin: 0 }\n"
    )
