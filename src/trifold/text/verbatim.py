r"""Strings of a text that a translation leaves as they are: numbers, addresses, placeholders, tags, code, paths.

| what | such as |
|---|---|
| code and tags | `` `git pull` ``, `<b>`, `</a>`, `&nbsp;` |
| placeholders | `{name}`, `{{count}}`, `${HOME}`, `$HOME`, `%s`, `%(name)d`, `%1$s`, `\n` |
| addresses | `https://example.org/a?b=1`, `www.example.org`, `example.org/a`, `ann@example.org`, `@ann`, `#42` |
| files and options | `/var/log/a.log`, `./run`, `C:\Temp\a.txt`, `report.pdf`, `--dry-run` |
| names in programs | `snake_case`, `camelCase`, `main()`, `GPT-4`, `v2.1`, a UUID, a hash |
| numbers | `7`, `-5`, `1,234.5`, `17:45`, `2024-05-06`, `1/2`, `50%`, `.5`, `1e-5`, `221B` |

Each is matched whole, a mark that ends the sentence after it left out. Letters are those of ASCII, since Chinese follows an
address without a space. Numbers in words are words; a unit, a sign of currency or what makes a number an ordinal (`5 km`,
`$5`, `5th`) stays outside of the number.
"""

import re

__all__ = ["find_verbatim", "masked"]

OPEN, SHUT = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"
URL = r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'*+,;=%]|\([^\s()]{0,200}\))*(?:[A-Za-z0-9\-_~/#@$&*+=%]|\([^\s()]{0,200}\))"
DOMAINS = "com|org|net|edu|gov|io|dev|app|info|cn|de|uk|eu|fr|jp|tw"
HOST = rf"(?<![A-Za-z0-9.\-])(?:[A-Za-z0-9\-]+\.)+(?:{DOMAINS})(?![A-Za-z0-9\-])"
NAME = r"[A-Za-z0-9_.\-]*[A-Za-z0-9_\-]"
ENDINGS = (
    "py|js|ts|json|txt|md|pdf|docx?|xlsx?|pptx?|csv|tsv|html?|css|xml|ya?ml|toml|png|jpe?g|gif|svg|mp[34]|zip|gz|tar"
    "|exe|dll|so|sh|ini|cfg|conf|log|sql|cpp|[ch]|java|go|rs"
)
KINDS = (
    r"`[^`\n]{1,200}`",
    r"</?[A-Za-z][^<>\n]{0,200}>|&[A-Za-z]{2,8};|&\#x?[0-9A-Fa-f]{1,6};",
    rf"(?<![A-Za-z0-9+.\-])(?:[A-Za-z][A-Za-z0-9+.\-]{{1,15}}://|www\.|mailto:){URL}",
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+",
    rf"{HOST}(?:/(?:{URL})?)?",
    rf"\$?\{{\{{[^{{}}\n]{{0,80}}\}}\}}|\$?\{{[^{{}}\n]{{0,80}}\}}(?:/{NAME})*|\$[A-Za-z_][A-Za-z0-9_]*(?:/{NAME})*",
    rf"%\([A-Za-z0-9_]+\)[-+\#0]*\d*(?:\.\d+)?[A-Za-z]|%(?:\d+\$)?[-+\#0]*\d*(?:\.\d+)?(?:ll?|hh?|z)?[sdiuxXfFeEgGcp@]{SHUT}|%%",
    rf"(?<![A-Za-z0-9_./~<])(?:(?:~|\.{{1,2}})(?:/{NAME})+|/{NAME}(?:/{NAME})+)/?",
    rf"(?<![A-Za-z])[A-Za-z]:\\(?:[A-Za-z0-9_.\-]+\\)*(?:{NAME})?",
    rf"(?<![A-Za-z0-9_.\-/\\])[A-Za-z0-9_\-]+(?:[./][A-Za-z0-9_\-]+)*\.(?:{ENDINGS}){SHUT}",
    r"(?<![\w\-])--[a-z][a-z0-9\-]+",
    r"\\[nrt](?![a-z])",
    rf"{OPEN}[\#@][A-Za-z0-9_]+",
    rf"{OPEN}[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}}{SHUT}",
    rf"{OPEN}0x[0-9A-Fa-f]+{SHUT}|{OPEN}(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{{7,64}}{SHUT}",
    r"(?<![A-Za-z0-9_.])[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\(\)",
    rf"{OPEN}_*[A-Za-z][A-Za-z0-9]*(?:_+[A-Za-z0-9]+)+_*{SHUT}|{OPEN}[a-z]+[A-Z][A-Za-z0-9]*{SHUT}",
    rf"{OPEN}[A-Za-z]+-?\d[A-Za-z0-9]*(?:[.\-]\d[A-Za-z0-9]*)*{SHUT}",
    r"(?:(?<![A-Za-z0-9_)\]}])[-+−±])?(?:\d+|(?<![\w.])\.\d+)(?:[.,:/\-–'’\u00a0\u202f]\d+)*(?:[eE][-+]?\d+(?![A-Za-z0-9])|[A-Z](?![A-Za-z0-9]))?[%‰]?",
)
VERBATIM = re.compile("|".join(KINDS))


def find_verbatim(text: str) -> list[tuple[int, int]]:
    """Where the strings of a text begin and end that a translation leaves as they are, in order.

    Example:
        >>> text = "See https://example.org/a?b=1, {name}, at 17:45."
        >>> [text[start:end] for start, end in find_verbatim(text)]
        ['https://example.org/a?b=1', '{name}', '17:45']
    """
    return [match.span() for match in VERBATIM.finditer(text)]


def masked(text: str) -> str:
    """The text with a zero in the place of each character of such strings, so that nobody sees a sentence end in them.

    Example:
        >>> masked("Wait 3.5 s. `a. b`")
        'Wait 000 s. 000000'
    """
    return VERBATIM.sub(lambda match: "0" * len(match[0]), text)
