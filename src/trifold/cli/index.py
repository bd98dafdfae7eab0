"""`trifold index`: knowledge bases on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.option import READING, Command, Option, Request
from trifold.cli.tuned import given_texts, row_options
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.retrieval import AddReport

__all__ = ["ADD", "BUILD", "SEARCH", "embedder_in"]

EMBEDDER = Option(name="embedder", help="option_embedder")
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

    facts = {**asdict(report), "passages": len(base), "folder": str(place)}
    shown = {**facts, "skipped": len(report.skipped)}
    request.console.say(message("cli.indexed", **shown))
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
    hits = KnowledgeBase(values.kb).search(query, values.k, embedder=embedder_in(values.embedder))
    if not hits:
        request.console.say(message("cli.nothing_found"))
    for hit in hits:
        request.console.say(
            f"{hit.score:8.4f}  {hit.document}:{hit.passage.start}-{hit.passage.end}  {hit.passage.text}"
        )
    return {
        "hits": [
            {
                "document": hit.document,
                "title": hit.title,
                "start": hit.passage.start,
                "end": hit.passage.end,
                "text": hit.passage.text,
                "score": hit.score,
                "word_rank": hit.word_rank,
                "vector_rank": hit.vector_rank,
            }
            for hit in hits
        ]
    }


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
    ),
    run=search,
)
