"""Tables with types of their own: parquet files and data sets of the hub, class names instead of their numbers."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trifold.data.reading import Row, Source
from trifold.errors import DataError, MissingExtraError

__all__ = ["class_names", "read_hub", "read_parquet"]


def read_parquet(source: Source) -> Iterator[Row]:
    """Rows of a parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: it is no parquet file, or a damaged one.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=source.origin, library="pyarrow", extra="data") from None
    try:
        file = pyarrow.parquet.ParquetFile(source.content() if source.is_packed else source.path)
        named = _with_names(_features_of(file.schema_arrow))
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for record in batch.to_pylist():
                number += 1
                yield Row(named(record), f"{source.origin}:{number}")
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError("data.unreadable", path=source.origin, problem=str(error)[:200]) from None


def read_hub(source: Source) -> Iterator[Row]:
    """Rows of a data set of the hub, `owner/name` or `owner/name:split`.

    Raises:
        MissingExtraError: datasets is not installed.
        DataError: there is no such data set, or it cannot be reached.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=source.origin, library="datasets", extra="data") from None
    name, _, split = source.origin.partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train", streaming=True)
        features = rows.features if isinstance(rows, datasets.IterableDataset) and rows.features else {}
        named = _with_names(datasets.Features(features).to_dict() if features else {})
        for number, record in enumerate(rows, start=1):
            yield Row(named(record), f"{name}:{number}")
    except (OSError, ValueError, TypeError) as error:  # what `datasets` raises offline and for unknown names
        raise DataError("data.hub_failed", path=name, problem=str(error)[:200]) from None


def class_names(path: str) -> dict[str, tuple[str, ...]]:
    """The names that a parquet file of the hub's data sets gives to integer labels, by column; of other files nothing.

    Example:
        >>> class_names("labels.csv")
        {}
    """
    if not path.endswith(".parquet"):
        return {}
    try:
        import pyarrow
        import pyarrow.parquet

        features = _features_of(pyarrow.parquet.read_schema(path))
    except (ImportError, OSError, ValueError):
        return {}
    return {column: tuple(names) for column, feature in features.items() if (names := _class_names(feature))}


def _features_of(schema: Any) -> Mapping[str, Any]:
    """What `datasets` wrote into a file about its columns.

    Raises:
        ValueError: it is no JSON.
    """
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    info = described.get("info") if isinstance(described, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _with_names(features: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Puts the names of classes in the place of their numbers, also in lists; -1 stands for no class."""
    known = {key: names for key, feature in features.items() if (names := _class_names(feature))}

    def name(value: Any, names: list[str]) -> Any:
        if isinstance(value, list):
            return [name(one, names) for one in value]
        whole = isinstance(value, int) and 0 <= value < len(names)
        return names[value] if whole else None if value == -1 else value

    def named(record: dict[str, Any]) -> dict[str, Any]:
        return {key: name(value, known[key]) if key in known else value for key, value in record.items()}

    return named if known else lambda record: record


def _class_names(feature: Any) -> list[str]:
    """The names of the classes of a feature, or of the elements of a sequence."""
    if isinstance(feature, list):
        return _class_names(feature[0]) if feature else []
    if not isinstance(feature, Mapping):
        return []
    if feature.get("_type") == "ClassLabel":
        return list(map(str, feature.get("names") or []))
    return _class_names(feature.get("feature"))
