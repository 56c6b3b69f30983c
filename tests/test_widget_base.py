"""The base of all widgets refuses what would be lost in silence."""

from __future__ import annotations

import pytest
import traitlets as t

from ornb.errors import ConfigError
from ornb.widgets.base import BadValue, Widget, describe, suggest


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
    assert suggest("zzzzz", ["count", "limit"]) == ""


def test_the_bundle_has_a_text_that_a_reader_understands():
    data, _metadata = Counter()._repr_mimebundle_()
    assert data["text/plain"] == "Counter (needs a running kernel)"
    assert "application/vnd.jupyter.widget-view+json" in data
