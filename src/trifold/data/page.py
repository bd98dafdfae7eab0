"""Web pages as people read them: without tags, scripts and styles."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

from trifold.data.encoding import check_encoding, mark_of
from trifold.data.reading import Source
from trifold.errors import UsageError

__all__ = ["read_page"]

SILENT = {"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "textarea"}
BLOCKS = {
    "address",
    "article",
    "aside",
    "body",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "section",
    "summary",
    "tbody",
    "tfoot",
    "thead",
    "tr",
}
PARAGRAPHS = {"h1", "h2", "h3", "h4", "h5", "h6", "p", "table", "ul", "ol", "pre", "blockquote", "title"}
CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252", "ascii": "cp1252"}
"""What browsers read pages in that name these encodings."""


def read_page(source: Source) -> Iterator[str]:
    """The text of a web page, its title first, with line breaks where its blocks end.

    Raises:
        DataError: as `Source.blocks`.
    """
    encoding = _encoding(source)
    page = Source(source.path, replace(source.options, encoding=encoding), source.report, origin=source.origin)
    parser = Page()
    for block in page.blocks():
        parser.feed(block)
        yield parser.take()
    parser.close()
    yield parser.take()


def _encoding(source: Source) -> str:
    """What the user says, else what the page says of itself."""
    head = source.head()[:4096]
    said = CHARSET.search(head)
    if source.options.encoding != "utf-8" or said is None or mark_of(head) is not None:
        return source.options.encoding
    try:
        known = check_encoding(said[1].decode("ascii", "replace"))
    except UsageError:
        return source.options.encoding
    return "utf-8" if known.startswith("utf") else WIDER.get(known, known)


class Page(HTMLParser):
    r"""Collects what is visible.

    Example:
        >>> page = Page()
        >>> page.feed("<p>One &amp;<b>two</b><script>x = 1</script><p>three<br>four")
        >>> page.close()
        >>> page.take()
        'One &two\n\nthree\nfour'
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._silent, self._kept = 0, 0
        self._breaks, self._space, self._begun = 0, False, False

    def take(self) -> str:
        """What was collected since the last time."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the base class
        """A tag opens."""
        self._silent += tag in SILENT
        self._kept += tag == "pre"
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        self._silent = max(0, self._silent - (tag in SILENT))
        self._kept = max(0, self._kept - (tag == "pre"))
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the base class
        """A tag that is closed at once."""
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in PARAGRAPHS:
            self._breaks = 2
        elif tag in BLOCKS:
            self._breaks = max(self._breaks, 1)
        elif tag == "br":
            self._breaks = min(self._breaks + 1, 2)
        elif tag in ("td", "th"):
            self._space = True

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if self._silent:
            return
        if self._kept:
            self._put(data)
            return
        words = data.split()
        self._space = self._space or data[:1].isspace()
        if words:
            self._put(" ".join(words))
            self._space = data[-1:].isspace()

    def _put(self, text: str) -> None:
        if self._begun and self._breaks:
            self._pieces.append("\n" * self._breaks)
        elif self._begun and self._space:
            self._pieces.append(" ")
        self._pieces.append(text)
        self._begun, self._breaks, self._space = True, 0, False
