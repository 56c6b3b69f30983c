"""Outputs as a reader without a kernel needs them: static, small, and the same each time.

What is changed, and nothing else:

- a widget becomes what it showed: its own plain twin, or the outputs inside it with a line on its
  controls. A live view beside its twin goes, and so does a progress bar: what it told is over.
- a figure stays as it is, for those who can draw it, and gets a picture and its caption beside it.
- lines that were printed in a row are one output.
- numbers that were drawn by lot, which tie a widget to its twin, are taken out.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from nbformat.v4 import new_output

FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "image/svg+xml"

Output = dict[str, Any]
States = Mapping[str, Mapping[str, Any]]
"""What each widget had at the end, by its id."""
Draw = Callable[[dict[str, Any]], str]
"""Makes the SVG of a figure's JSON."""

TWIN = ("the output above.", "the output below.")
"""End the text of a live view that stands beside its own twin."""
TRANSCRIPT = "application/vnd.ornb.transcript+json"

_BY_LOT = re.compile(r" ornb-static-[0-9a-f]{12}(?=[\"'])")
_HIDING = re.compile(r"<style>\s*\.jp-OutputArea-child:has\([^<]*\.ornb-static-[^<]*</style>\s*")
_TAG = re.compile(r"<[^>]+>")


def tidy(outputs: list[Output], states: States, draw: Draw) -> list[Output]:
    """Make the outputs of a cell fit to be kept.

    Parameters
    ----------
    outputs : list of dict
        As the kernel sent them.
    states : mapping
        The widgets at the end of the run.
    draw : callable
        Makes the picture of a figure.

    Returns
    -------
    list of dict
        New ones.
    """
    kept: list[Output] = []
    for output in outputs:
        for each in map(_rounded, _static(output, states)):
            last = kept[-1] if kept else None
            if each["output_type"] == "stream":
                if last and last["output_type"] == "stream" and last["name"] == each["name"]:
                    last["text"] += each["text"]
                    continue
            elif "data" in each:
                each["data"] = _data(each["data"], draw)
            kept.append(each)
    return kept


def _static(output: Output, states: States) -> list[Output]:
    output = json.loads(json.dumps(output))
    output.pop("transient", None)
    if "row" in output.get("metadata", {}).get("ornb", {}):
        del output["metadata"]["ornb"]
    view = output.get("data", {}).pop(WIDGET, None)
    if view is None:
        return [output]
    inside = list(_family(view["model_id"], states))
    if any(state.get("_model_name") == "FloatProgressModel" for state in inside):
        return []
    shown = [each for state in inside for each in state.get("outputs") or ()]
    if not shown:
        said = output["data"].get("text/plain", "")
        return [] if said.endswith(TWIN) else [output]
    controls = [
        f"{state['description']} {state['value']}"
        for state in inside
        if state.get("description") and state.get("value") is not None
    ]
    if controls:
        told = f"{'; '.join(controls)} (a control: it moves when the notebook runs)"
        twin = {"text/html": f"<p><small>{html.escape(told)}</small></p>", "text/plain": told}
        shown.insert(0, new_output("display_data", twin))
    return [each for one in shown for each in _static(one, states)]


def _family(model_id: str, states: States) -> Any:
    """A widget and those inside it."""
    state = states.get(model_id, {})
    yield state
    for child in state.get("children") or ():
        yield from _family(child.removeprefix("IPY_MODEL_"), states)


def _data(data: dict[str, Any], draw: Draw) -> dict[str, Any]:
    if isinstance(data.get("text/html"), str):
        data["text/html"] = _BY_LOT.sub("", _HIDING.sub("", data["text/html"]))
    for by_lot in ("row", "piece"):
        data.get(TRANSCRIPT, {}).pop(by_lot, None)
    figure = data.get(FIGURE)
    if figure is None:
        return data
    if "<script" in data.get("text/html", ""):
        del data["text/html"]  # it would fetch plotly.js from its makers
    data[FIGURE] = figure = {"data": figure["data"], "layout": figure["layout"]}
    if "text/html" not in data:
        data[PICTURE] = draw(figure)
    data.setdefault("text/plain", caption(figure))
    return data


def caption(figure: Mapping[str, Any]) -> str:
    """Title and caption of a figure as one line.

    Parameters
    ----------
    figure : mapping
        Plotly's JSON.

    Returns
    -------
    str
        Plain text.

    Examples
    --------
    >>> caption({"layout": {"title": {"text": "<b>Who?</b><br>So"}, "meta": {"caption": "All."}}})
    'Figure: Who? So All.'
    """
    layout = figure.get("layout", {})
    title = _TAG.sub(" ", str((layout.get("title") or {}).get("text") or ""))
    told = str((layout.get("meta") or {}).get("caption") or "")
    return " ".join(html.unescape(f"Figure: {title} {told}").split())


def _rounded(value: Any) -> Any:
    """Numbers to ten digits: the last ones differ from processor to processor."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value
