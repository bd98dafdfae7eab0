"""`trifold index`: knowledge bases on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.option import READING, Command, Option, Request
from trifold.cli.passages import hit_facts
from trifold.cli.tuned import given_texts, row_options
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.retrieval import AddReport

__all__ = ["ADD", "BUILD", "SEARCH", "VECTOR_WEIGHT", "embedder_in", "warn_unweighed"]

EMBEDDER = Option(name="embedder", help="option_embedder")
VECTOR_WEIGHT = Option(name="vector-weight", kind="number", low=0, high=1)
BASE = Option(name="kb", positional=True, required=True, help="option_kb_folder")


def embedder_in(folder: str | None) -> Any:
    """The embedder in a folder; None for none.

    Raises:
        UsageError: the model there was fine-tuned for another task.
    """
    if folder is None:
        return None
    from trifold.native import keep_memory
    from trifold.tasks import load

    keep_memory()
    loaded = load(folder)
    loaded.require("embedding")
    return loaded


def warn_unweighed(request: Request, base: Any) -> None:
    """Say that a base of an earlier version is searched by words first: what its vectors are worth was not measured."""
    values = request.values
    if values.embedder is not None and values.vector_weight is None and base.vector_weight is None:
        request.console.warn(message("cli.unweighed", path=base.folder, embedder=values.embedder))


def build(request: Request) -> dict[str, Any]:
    """Make a knowledge base."""
    from trifold.retrieval import KnowledgeBase

    values = request.values
    base, report = KnowledgeBase.build(
        values.paths,
        values.out,
        embedder=embedder_in(values.embedder),
        columns=tuple(values.columns or ()),
        options=row_options(request),
    )
    return _tell(request, base, report, Path(values.out))


def add(request: Request) -> dict[str, Any]:
    """Bring a knowledge base up to date."""
    from trifold.retrieval import KnowledgeBase

    values = request.values
    base = KnowledgeBase(values.kb)
    columns = tuple(values.columns or ())
    report = base.add(
        values.paths,
        embedder=embedder_in(values.embedder),
        columns=columns,
        prune=values.prune,
        options=row_options(request),
    )
    return _tell(request, base, report, Path(values.kb))


def _tell(request: Request, base: Any, report: "AddReport", place: Path) -> dict[str, Any]:
    from dataclasses import asdict

    facts = {**asdict(report), "passages": len(base), "folder": str(place), "vector_weight": base.vector_weight}
    shown = {**facts, "skipped": len(report.skipped)}
    request.console.say(message("cli.indexed", **shown))
    if base.vector_weight is not None:
        key = "cli.vectors_count" if base.vector_weight else "cli.vectors_do_not_help"
        request.console.say(message(key, weight=base.vector_weight))
    for line in report.told:
        request.console.note(line)
    for problem in report.skipped:
        request.console.warn(message("cli.left_out", problem=problem))
    return facts


def search(request: Request) -> dict[str, Any]:
    """The passages that fit a query."""
    from trifold.retrieval import KnowledgeBase

    values = request.values
    (query,) = given_texts(request, values.query, single=True)
    base, embedder = KnowledgeBase(values.kb), embedder_in(values.embedder)
    warn_unweighed(request, base)
    hits = base.search(query, values.k, embedder=embedder, weight=values.vector_weight)
    if not hits:
        request.console.say(message("cli.nothing_found"))
    for hit in hits:
        request.console.say(
            f"{hit.score:8.4f}  {hit.document}:{hit.passage.start}-{hit.passage.end}  {hit.passage.text}"
        )
    return {"hits": [hit_facts(hit) for hit in hits]}


COLUMNS = Option(name="columns", many=True, help="option_triple_columns")
PATHS = Option(name="paths", positional=True, many=True, required=True, help="option_kb_paths")
BUILD = Command(
    name="index build",
    options=(PATHS, Option(name="out", kind="folder", required=True), EMBEDDER, COLUMNS, *READING),
    run=build,
)
ADD = Command(
    name="index add",
    options=(BASE, PATHS, EMBEDDER, COLUMNS, *READING, Option(name="prune", kind="flag", default=False)),
    run=add,
)
SEARCH = Command(
    name="index search",
    options=(
        BASE,
        Option(name="query", positional=True, many=True, required=True, help="option_query"),
        Option(name="k", kind="integer", low=1, high=10_000, default=5, help="option_k"),
        EMBEDDER,
        VECTOR_WEIGHT,
    ),
    run=search,
)
