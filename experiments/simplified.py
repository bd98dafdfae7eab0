"""Traditional characters to simplified ones in every text of JSON lines, so that both kinds of data train one model.

python experiments/simplified.py OUT.jsonl FILE ...        # needs: pip install "opencc>=1.2,<2"

The conversion is OpenCC's, by phrases, hence one to one in nearly all places; an answer that moved is found again when the
file is read, since its offset no longer fits.
"""

import json
import sys
from pathlib import Path
from typing import Any

from trifold.data.rows import read_rows


def converted(value: Any, convert: Any) -> Any:
    """The same value with every string in it converted."""
    match value:
        case str():
            return convert(value)
        case list():
            return [converted(one, convert) for one in value]
        case dict():
            return {name: converted(one, convert) for name, one in value.items()}
    return value


def main() -> None:
    """Read, convert, write."""
    import opencc

    convert = opencc.OpenCC("t2s").convert
    with Path(sys.argv[1]).open("w", encoding="utf-8") as out:
        for row in (row for file in sys.argv[2:] for row in read_rows(file)):
            print(json.dumps(converted(dict(row.values), convert), ensure_ascii=False), file=out)


if __name__ == "__main__":
    main()
