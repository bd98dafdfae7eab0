"""`trifold generate`: continue a text, or answer a source."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from trifold.cli.console import Console
from trifold.cli.lines import answer_lines, say_answer
from trifold.cli.option import Command, Option, Request
from trifold.cli.sampling import SAMPLING, sampling_of
from trifold.cli.tuned import INPUT, PRECISION, TEXTS, given_rows, given_texts, text_in
from trifold.errors import UsageError
from trifold.locale import message

__all__ = ["COMMAND"]

RUN = Option(name="run", positional=True, required=True)


def run(request: Request) -> dict[str, Any]:
    """Write text, as it comes where it is one prompt on a terminal's way."""
    from trifold.native import keep_memory
    from trifold.tasks import load
    from trifold.tasks.build import is_translator

    values, console = request.values, request.console
    texts = [*given_texts(request, values.text), *given_texts(request, values.prompt)]
    loaded = load(values.run, precision=values.precision)
    if loaded.task is not None and not is_translator(loaded.folder):
        return _answer(request, loaded, texts)
    rows = given_rows(request, texts, keep_blank=True)
    generator = loaded.writer
    sampling = _seeded(sampling_of(request, generator.rules), values.n)
    prompts = [_prompt(generator, row, sampling) for row in rows]
    first, _ = prompts[0] if prompts else ("", 0)
    if len(prompts) == values.n == sampling.beams == 1 and isinstance(first, str) and not console.as_json:
        _stream(request, generator, first, sampling)
        return {}
    keep_memory()
    return {"generations": _continue(request, generator, texts, prompts, sampling)}


def _continue(
    request: Request, generator: Any, texts: Sequence[str], prompts: list[tuple[Any, int]], sampling: Any
) -> list[dict[str, Any]]:
    """So many texts for each prompt; nothing for one that is blank."""
    seeds = [None if sampling.seed is None else sampling.seed + number for number in range(request.values.n)]
    asked = [(prompt, cut, seed) for prompt, cut in prompts for seed in seeds]
    there = [(prompt, seed) for prompt, _, seed in asked if prompt]
    given = None if sampling.seed is None else [seed for _, seed in there if seed is not None]
    found = generator.generate([prompt for prompt, _ in there], sampling, seeds=given, special=request.values.special)
    written, said = iter(found), []
    for prompt, lost, seed in asked:
        shown = prompt if isinstance(prompt, str) else generator.tokenizer.decode(prompt, skip_special=False)
        text = next(written) if prompt else None
        if text is None:
            request.console.say()
            said.append({"prompt": "", "seed": seed, "text": ""})
            continue
        alone = generator.model.config.encoder is not None or shown is not prompt
        _say_chat_cut(lost, request.console)
        _say_cut(text.prompt_cut, sampling, request.console)
        text = replace(text, prompt_cut=text.prompt_cut + lost)
        say_answer(request, texts, text.text if alone else shown + text.text)
        said.append({"prompt": shown, "seed": seed, **_plain(text), "tokens": _spelled(generator.tokenizer, text.ids)})
    return said


def _stream(request: Request, generator: Any, prompt: str, sampling: Any) -> None:
    """One text, shown while it is written; nothing for a blank prompt."""
    if not prompt:
        request.console.say()
        return
    console, special = request.console, request.values.special
    _say_cut(generator.cut(prompt, sampling, special=special), sampling, console)
    console.say("" if generator.model.config.encoder is not None else prompt, end="")
    for piece in generator.stream(prompt, sampling, special=special):
        console.say(piece, end="")
    console.say()


def _seeded(sampling: Any, wanted: int) -> Any:
    """With several answers a prompt, answer k is the one of seed + k: a seed is drawn where none is given.

    Raises:
        UsageError: nothing is random, so that all answers would be the same.
    """
    import secrets

    if wanted == 1:
        return sampling
    if sampling.beams > 1 or sampling.temperature == 0.0:
        name, given = ("beams", sampling.beams) if sampling.beams > 1 else ("temperature", sampling.temperature)
        raise UsageError("cli.same_answers", n=wanted, name=name, given=given)
    return sampling if sampling.seed is not None else replace(sampling, seed=secrets.randbits(31))


def _say_cut(cut: int, sampling: Any, console: Console) -> None:
    if cut:
        console.warn(message("cli.prompt_cut", cut=f"{cut:,}", side=message(f"cli.side_{sampling.truncate}")))


def _say_chat_cut(cut: int, console: Console) -> None:
    if cut:
        console.warn(message("cli.chat_prompt_cut", cut=f"{cut:,}"))


def _spelled(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    return [tokenizer.spell(token) for token in ids]


def _answer(request: Request, tuned: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Answers of a model tuned on instructions, which reads each prompt through its template; none to a blank line."""
    from trifold.generation.rules import read_rules

    tuned.require("generation")
    sampling = _seeded(sampling_of(request, read_rules(tuned.model.generation)), request.values.n)
    seeds = [None if sampling.seed is None else sampling.seed + number for number in range(request.values.n)]

    def write(records: list[Any]) -> list[tuple[Any, ...]]:
        rounds = [tuned.task.write(tuned.model, records, replace(sampling, seed=seed)) for seed in seeds]
        return list(zip(*rounds, strict=True))

    said = []
    for answered in answer_lines(request, tuned, texts, write):
        if answered.said is None:
            request.console.say()
            said.append({"prompt": "", "seed": None, "text": None})
            continue
        _say_chat_cut(answered.said[0].details.get("prompt_cut", 0), request.console)
        for seed, answer in zip(seeds, answered.said, strict=True):
            say_answer(request, texts, answer.answer)
            prompt = answered.values.get("text") or answered.record.inputs[0]
            said.append({"prompt": prompt, "seed": seed, "text": answer.answer, **answer.details})
    return {"generations": said}


def _prompt(generator: Any, row: Any, sampling: Any) -> tuple[Any, int]:
    """What is continued: the text of a row, or a conversation as the model's own chat template lays it out.

    Also how many of the conversation's tokens had no room.
    """
    from trifold.tasks.generation import PROMPT
    from trifold.tasks.talk import conversation_ids

    return conversation_ids(generator, row, sampling) or (text_in(row, PROMPT), 0)


def _plain(text: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(text).items()}


COMMAND = Command(
    name="generate",
    options=(
        RUN,
        TEXTS,
        Option(name="prompt", many=True),
        *INPUT,
        *SAMPLING,
        Option(name="beams", kind="integer", low=1),
        Option(name="length-penalty", kind="number", low=0),
        Option(name="n", kind="integer", low=1, high=10_000, default=1, help="option_answers"),
        Option(name="stop", many=True),
        Option(name="special", kind="flag", default=False, help="option_special"),
        Option(name="truncate", choices=("never", "left", "right")),
        PRECISION,
    ),
    run=run,
    sections=("data",),
)
