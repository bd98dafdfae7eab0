"""Putting on a model what a task needs: the head of its family's class for the task, or one of our own."""

from torch import nn

from trifold.presets.pretrained import Transformer
from trifold.presets.task_class import Outputs
from trifold.presets.task_head import HeadShape, TaskHead
from trifold.tasks.frame import SEGMENTS
from trifold.tasks.head import HeadWanted
from trifold.tasks.task import Task
from trifold.text import Tokenizer

__all__ = ["equip", "portability", "suited"]


def portability(model: Transformer, wanted: HeadWanted | None) -> tuple[str, ...]:
    """What of a task on a model other tools cannot express: names of settings, or the family."""
    if wanted is None or wanted.kind == "embedding":
        return ()
    kind = None if model.classes is None else model.classes.tasks.get(wanted.kind)
    if kind is None:
        return (*wanted.apart, f"{wanted.kind} with {model.preset.name if model.preset else 'an own composition'}")
    other = wanted.pooling not in ("auto", kind.build({}, 1).pooling, *kind.poolings)
    return (*wanted.apart, *(["task.pooling"] if other else []))


def equip(model: Transformer, task: Task, *, apart: bool = False) -> bool:
    """Put on a model what a task needs on top of it, and take off what it does not.

    Args:
        model: gets it.
        task: needs it.
        apart: give it a head of our own, even where its family has a class for the task.

    Returns:
        Whether the head was there already: the model was tuned for the same task with the same outputs.
    """
    wanted = task.head
    if task.frame.reads == "encoder":
        model.drop_decoder()
    if wanted is None or not wanted.labels or apart or portability(model, wanted):
        kept = False
        model.take_off()
        if wanted is not None and wanted.labels:
            model.heads["task"] = TaskHead(_own_shape(wanted, task), model.config.d_model)
    else:
        kept = _put_on(model, wanted)
    model.reads_only = wanted is not None
    if wanted is not None:
        model.drop_head()
    for name, part in task.build_parts(model.config).items():
        model.heads[name] = part
    model.heads.requires_grad_(True)
    if task.needs_segments and model.embedding.segments is None:
        model.embedding.segments = nn.Embedding(SEGMENTS, model.embedding.tokens.embedding_dim)
        nn.init.zeros_(model.embedding.segments.weight)  # at first it changes nothing
    return kept


def _put_on(model: Transformer, wanted: HeadWanted) -> bool:
    """The head of the family's class; whether the model had it."""
    assert model.classes is not None and model.preset is not None and wanted.kind != "embedding"  # noqa: PT018
    kind = model.classes.tasks[wanted.kind]
    outputs = Outputs(wanted.kind, wanted.labels, wanted.problem)
    pooling = "mean" if wanted.pooling == "auto" and "mean" in kind.poolings else wanted.pooling
    had = model.heads["task"] if model.outputs == outputs else None
    if isinstance(had, TaskHead) and wanted.pooling in ("auto", had.shape.pooling):
        return True
    data = model.preset.write(model.options)
    model.put_on(kind, outputs, kind.build(data, len(wanted.labels), None if pooling == "auto" else pooling))
    return False


def _own_shape(wanted: HeadWanted, task: Task) -> HeadShape:
    """The head of a task that no class expresses."""
    if wanted.each:
        return HeadShape(outputs=len(wanted.labels), pooling="each")
    usual = "last" if task.frame.decoder else "mean"
    pooling = usual if wanted.pooling == "auto" else wanted.pooling
    return HeadShape(outputs=len(wanted.labels), pooling=pooling, dense=True)


def suited(tokenizer: Tokenizer, task: Task) -> Tokenizer:
    """A tokenizer as other tools need it beside a tuned model.

    It pads, without which transformers reads no batch: one that has no such token pads with its end. Texts that are
    classified are cut where the task cuts them, and a word that is found begins behind the space before it.
    """
    if task.head is None:
        return tokenizer
    special, roles, settings = tokenizer.special, dict(tokenizer.roles), dict(tokenizer.settings)
    end = special.eos if special.pad is None else None
    text = None if end is None else tokenizer.id_to_token(end)
    if text is not None:
        roles["pad"] = text
    if task.head.labels and not task.head.each:
        settings["model_max_length"] = task.frame.limit
    tokenizer = tokenizer.changed(roles=roles, settings=settings)
    if not task.head.each:
        return tokenizer
    return tokenizer.framed(task.frame.framing, typed=task.frame.num_segments > 1, trims=True)
