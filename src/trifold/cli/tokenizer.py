"""`trifold tokenizer train` and `trifold tokenizer report`."""

from pathlib import Path
from typing import Any

from trifold.cli.console import say_read, warn_unknown
from trifold.cli.experiment import DATA_OPTIONS, KINDS, source_options
from trifold.cli.option import Command, Option, Request
from trifold.errors import UsageError
from trifold.locale import message

__all__ = ["REPORT", "TRAIN"]


def train(request: Request) -> dict[str, Any]:
    """Train a tokenizer and save it."""
    from trifold.data import ReadReport, read
    from trifold.text import train_tokenizer
    from trifold.text.training import SAMPLE_CHARACTERS, sample

    values, out = request.values, Path(request.values.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("cli.folder_exists", path=out)
    told = ReadReport()
    texts = (text for example in read(values.data, source_options(request), told) for text in example.texts)
    kept = sample(texts, SAMPLE_CHARACTERS)
    tokenizer = train_tokenizer(
        kept,
        kind=values.kind,
        vocab_size=values.vocab_size,
        num_sentinels=values.sentinels,
        lowercase=values.lowercase,
        nfc=values.nfc,
        fold_width=values.fold_width,
        special_tokens=values.special_tokens or (),
        user_tokens=values.user_tokens or (),
    )
    tokenizer.save_pretrained(out)
    unknown = tokenizer.unknown_share(kept)
    say_read(told, request.console)
    request.console.say(message("cli.tokenizer_done", path=out, size=f"{tokenizer.vocab_size:,}"))
    warn_unknown(unknown, request.console)
    return {
        "folder": str(out),
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "unknown_tokens": unknown,
        "account": told.to_json(),
    }


def report(request: Request) -> dict[str, Any]:
    """Show how a tokenizer compresses text, by script."""
    from trifold.data import ReadReport, read
    from trifold.text import Tokenizer, compression_report

    tokenizer = Tokenizer.from_pretrained(request.values.tokenizer)
    told = ReadReport()
    texts = (example.texts[0] for example in read(request.values.data, source_options(request), told))
    rows = compression_report(tokenizer, texts)
    say_read(told, request.console)
    header = [message(f"cli.script_{name}") for name in ("name", "tokens", "bytes", "characters", "unknown")]
    request.console.say("{:<8}{:>12}{:>14}{:>18}{:>10}".format(*header))
    for name, row in rows.items():
        shares = (row.bytes_per_token, row.characters_per_token, row.unknown_rate)
        request.console.say(f"{name:<8}{row.tokens:>12,}{shares[0]:>14.2f}{shares[1]:>18.2f}{shares[2]:>10.4%}")
    return {name: row.as_dict() for name, row in rows.items()}


DATA = Option(name="data", positional=True, many=True, required=True)
TRAIN = Command(
    name="tokenizer train",
    options=(
        DATA,
        Option(name="kind", choices=KINDS, default="byte_bpe"),
        Option(name="vocab-size", kind="integer", low=16, high=2**22, default=8192),
        Option(name="out", kind="folder", required=True, help="option_out_tokenizer"),
        Option(name="sentinels", kind="integer", low=0, high=1000, default=100),
        Option(name="special-tokens", many=True),
        Option(name="user-tokens", many=True),
        Option(name="lowercase", kind="flag", default=False),
        Option(name="nfc", kind="flag", default=False),
        Option(name="fold-width", kind="flag", default=False),
        *DATA_OPTIONS,
    ),
    run=train,
)
REPORT = Command(
    name="tokenizer report",
    options=(DATA, Option(name="tokenizer", required=True, help="option_tokenizer_path"), *DATA_OPTIONS),
    run=report,
)
