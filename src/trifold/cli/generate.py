"""`trifold generate`: continue a text, or answer a source."""

from dataclasses import asdict
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import INPUT, PRECISION, TEXTS, given_rows, text_in, tuned_for, unlabelled_records

__all__ = ["COMMAND"]

RUN = Option(name="run", positional=True, required=True)


def run(request: Request) -> dict[str, Any]:
    """Write text, as it comes where it is one prompt on a terminal's way."""
    from trifold.generation import Generator, Sampling, lower_precision
    from trifold.native import keep_memory
    from trifold.tasks.build import is_fine_tuned
    from trifold.tasks.generation import ROLES

    values, console = request.values, request.console
    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "beams", "seed")
    chosen = {name: getattr(values, name) for name in names if name in request.given}
    sampling = Sampling(**chosen, stop=tuple(values.stop or ()))
    rows = given_rows(request, [*(values.text or ()), *(values.prompt or ())])
    if is_fine_tuned(values.run):
        return _answer(request, rows, sampling)
    generator = Generator.from_pretrained(values.run)
    lower_precision(generator.model, values.precision, decoding=True)
    prompts = [text_in(row, ROLES[0]) for row in rows]
    if len(prompts) == 1 and sampling.beams == 1 and not console.as_json:
        paired = generator.model.config.encoder is not None
        console.say("" if paired else prompts[0], end="")
        for piece in generator.stream(prompts[0], sampling):
            console.say(piece, end="")
        console.say()
        return {}
    keep_memory()
    made = generator.generate(prompts, sampling)
    for prompt, text in zip(prompts, made, strict=True):
        console.say(text.text if generator.model.config.encoder is not None else prompt + text.text)
    return {"generations": [{"prompt": p, **_plain(text)} for p, text in zip(prompts, made, strict=True)]}


def _answer(request: Request, rows: list[Any], sampling: Any) -> dict[str, Any]:
    """Answers of a model tuned on instructions, which reads each prompt through its template."""
    tuned = tuned_for(request.values.run, "generation", precision=request.values.precision)
    records = unlabelled_records(tuned, rows)
    given = [row.values.get("text") or record.inputs[0] for row, record in zip(rows, records, strict=True)]
    made = tuned.task.write(tuned.model, records, sampling)
    for one in made:
        request.console.say(one.answer)
    return {"generations": [{"prompt": prompt, "text": one.answer, **one.details}
                            for prompt, one in zip(given, made, strict=True)]}  # fmt: skip


def _plain(text: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(text).items()}


COMMAND = Command(
    name="generate",
    options=(
        RUN,
        TEXTS,
        Option(name="prompt", many=True),
        *INPUT,
        Option(name="max-tokens", kind="integer", low=1),
        Option(name="temperature", kind="number", low=0),
        Option(name="top-k", kind="integer", low=0),
        Option(name="top-p", kind="number", above=0, high=1),
        Option(name="min-p", kind="number", low=0, high=1),
        Option(name="repetition-penalty", kind="number", above=0),
        Option(name="beams", kind="integer", low=1),
        Option(name="seed", kind="integer", low=0),
        Option(name="stop", many=True),
        PRECISION,
    ),
    run=run,
)
