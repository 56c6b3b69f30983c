"""What a person hands over as data: a table at once, or its parts as they come."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .. import columns as c
from ..errors import ConfigError
from ..messages import all_well_formed

TEXT = "text"
"""Name of the column that a list, or a Series without a name, becomes."""
ROWS = 10_000
"""Rows of a part, at most."""
PATIENCE_S = 0.2
"""Seconds after which a part is as long as it is: a slow source is not waited for."""
_FILE = re.compile(r".*\.(?:(csv|tsv)(?:\.(?:gz|bz2|xz|zip|zst))?|parquet)", re.IGNORECASE)


def is_file(data: Any) -> bool:
    """Whether it names a file of a table."""
    return isinstance(data, os.PathLike) or (isinstance(data, str) and bool(_FILE.fullmatch(data)))


def comes_in_parts(data: Any) -> bool:
    """Whether it need not be held at once: a file, or what can be gone through only once."""
    return is_file(data) or isinstance(data, Iterator)


def table_of(data: Any) -> pd.DataFrame:
    """Return what a person hands over as a table; a list becomes a column ``text``."""
    if isinstance(data, pd.Series):
        data = data.to_frame(TEXT if data.name is None else data.name)
    if isinstance(data, pd.DataFrame):
        if data.columns.nlevels > 1:
            raise ConfigError(
                "data has columns of several levels, which a template cannot name. Flatten them, "
                'such as with data.columns = ["_".join(names) for names in data.columns].'
            )
        return data
    if comes_in_parts(data):
        parts = list(parts_of(data))
        return pd.concat(parts) if len(parts) > 1 else parts[0] if parts else table_of([])
    is_list = isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping)
    listed = list(data) if is_list else [data]
    if listed and all(isinstance(row, Mapping) for row in listed) and is_list:
        return pd.DataFrame([all_well_formed(row) for row in listed])
    if not is_list or not all(text is None or isinstance(text, str) for text in listed):
        raise ConfigError(
            f"data is of type {type(data).__name__}; give a DataFrame, a Series, texts or dicts in "
            "a list or an iterator, an iterator of frames, or the path of a .csv, .tsv or .parquet "
            "file."
        )
    return pd.DataFrame({TEXT: c.strings(listed)})


def parts_of(data: Any) -> Generator[pd.DataFrame, None, None]:
    """Give a file or an iterator some rows at a time, the index counting on; else all at once."""
    if not comes_in_parts(data):
        yield table_of(data)
        return
    begun = 0
    for part in _read(Path(data)) if is_file(data) else _gathered(iter(data)):
        frame = table_of(part)
        if not isinstance(part, pd.DataFrame) or (
            is_file(data) and isinstance(frame.index, pd.RangeIndex)
        ):
            frame.index = pd.RangeIndex(begun, begun + len(frame))
        begun += len(frame)
        yield frame


def _gathered(rows: Iterator[Any]) -> Iterator[Any]:
    for first in rows:
        if isinstance(first, pd.DataFrame | pd.Series):
            yield first
            continue
        some, until = [first], time.monotonic() + PATIENCE_S
        while len(some) < ROWS and time.monotonic() < until:
            more = list(itertools.islice(rows, 1))
            if not more:
                break
            some += more
        yield some


def _read(path: Path) -> Iterator[pd.DataFrame]:
    kind = _FILE.fullmatch(path.name)
    if kind is None:
        raise ConfigError(f"data is {path.name!r}; give a .csv, .tsv or .parquet file, or a table.")
    try:
        if kind[1] is None:
            from pyarrow import parquet  # type: ignore[import-not-found, unused-ignore]

            with parquet.ParquetFile(path.expanduser()) as file:
                if not file.metadata.num_rows:
                    yield file.read().to_pandas()
                for some in file.iter_batches(batch_size=ROWS):
                    yield some.to_pandas()
        else:
            separator = "," if kind[1].lower() == "csv" else "\t"
            with pd.read_csv(path.expanduser(), sep=separator, chunksize=ROWS) as reader:
                yield from reader
    except ImportError as error:
        raise ConfigError(
            f"A .parquet file is read by pyarrow, which is not here, so nothing was sent of "
            f"{path.name}. Install it (%pip install pyarrow), or give a .csv file."
        ) from error
    except (OSError, ValueError) as error:  # of pandas and pyarrow too
        raise ConfigError(
            f"{path.name} cannot be read: {str(error).partition(chr(10))[0]}."
        ) from error
