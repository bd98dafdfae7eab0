"""A core in the form of one of Hugging Face's classes: with a language-model head, a head for a task, or none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trifold.checkpoint import Entry, KeyMap
from trifold.config import Config
from trifold.errors import ModelFileError
from trifold.model import config
from trifold.model.head import Head
from trifold.model.initialization import initialize
from trifold.presets.class_names import read_names, write_names
from trifold.presets.inputs import CheckedTransformer
from trifold.presets.preset import Preset
from trifold.presets.task_class import FamilyClasses, Outputs, TaskClass
from trifold.presets.task_head import HeadShape, TaskHead

__all__ = ["REST", "Form", "NoHead"]

REST = "rest."
"""What the names of weights begin with that are kept as they are."""


class NoHead(torch.nn.Module):
    """Stands where a model has no language-model head, as one made for a task; whoever asks for logits is told so.

    Args:
        path: of the folder, for the message; "" for none.

    Example:
        >>> NoHead("runs/labels").path
        'runs/labels'
    """

    def __init__(self, path: str = "") -> None:
        super().__init__()
        self.path = path

    @property
    def output(self) -> torch.nn.Linear:
        """Nothing.

        Raises:
            ModelFileError: always.
        """
        raise ModelFileError("presets.no_head", path=self.path or "-")

    def transform(self, *_: Tensor) -> Tensor:
        """Nothing.

        Raises:
            ModelFileError: always.
        """
        raise ModelFileError("presets.no_head", path=self.path or "-")

    def forward(self, *_: Tensor) -> Tensor:
        """Nothing.

        Raises:
            ModelFileError: always.
        """
        return self.transform()


class Form(CheckedTransformer):
    """A core that knows its family, and which of the family's classes it is.

    Args:
        transformer: its configuration.
        preset: its family; None for a composition of one's own.
        options: the family's options that gave the configuration; None without a family.

    Attributes:
        heads: heads of tasks by name, none at first. That named `task` is saved in the file of the model, under the names
            of `task_class`, where its family has a class for it; all else that the model has learned on top (adapters,
            segments that its family lacks, parts of heads) stands in `extra.safetensors`.
        task_class: Hugging Face's class that the model is saved as; None for that of the family.
        outputs: what the head of that class says.
        reads_only: whether it is made for a task that reads whole texts and writes none.
        rest: weights of its folder that no objective here trains, by Hugging Face's names (a pooler), kept as they are.
    """

    def __init__(
        self, transformer: config.Transformer, *, preset: Preset | None = None, options: Config | None = None
    ) -> None:
        super().__init__(transformer)
        self.heads = torch.nn.ModuleDict()
        self.preset, self.options = preset, options
        self.task_class: TaskClass | None = None
        self.outputs: Outputs | None = None
        self.rest: dict[str, Tensor] = {}
        self.reads_only = False

    @property
    def classes(self) -> FamilyClasses | None:
        """Hugging Face's classes of its family; None without a family."""
        return self.preset.task_classes if self.preset else None

    def put_on(self, task_class: TaskClass, outputs: Outputs, shape: HeadShape) -> None:
        """Become a model of one of Hugging Face's classes for tasks.

        Its head starts from random weights; but what it shares with the language-model head (ModernBERT) or has in the
        model's folder (BERT's pooler) stays as it is.
        """
        own = dict(self.named_parameters())
        entries = self.key_map().entries
        known = {entry.theirs: own[entry.ours[0]] for entry in entries if entry.ours[0] in own} | self.rest
        self.take_off()
        self.task_class, self.outputs = task_class, outputs
        head = TaskHead(shape, self.config.d_model).to(self.embedding.tokens.weight.device)
        self.heads["task"] = head
        with torch.no_grad():
            for entry in self._head_entries():
                weight, before = head.get_parameter(entry.ours[0].removeprefix("heads.task.")), known.get(entry.theirs)
                if before is not None and before.shape == weight.shape:
                    weight.copy_(before)
                self.rest.pop(entry.theirs, None)
        if task_class.encoder_only:
            self.drop_decoder()

    def take_off(self) -> None:
        """Leave all heads of tasks behind."""
        self.heads, self.task_class, self.outputs = torch.nn.ModuleDict(), None, None

    def drop_decoder(self) -> None:
        """Keep the encoder of an encoder-decoder alone; without a class for it, the model belongs to no family any more."""
        if self.config.encoder is None or self.config.decoder is None:
            return
        self.decoder = self.decoder_embedding = None
        self.config = replace(self.config, decoder=None, decoder_embedding=None)
        if self.classes is not None and not self.classes.encoder:
            self.preset, self.options, self.rest = None, None, {}

    def drop_head(self, path: str = "") -> None:
        """Go on without the language-model head, where it has weights of its own."""
        if any(name.startswith("head.") for name, _ in self.named_parameters()):
            self.head = NoHead(path)  # type: ignore[assignment]

    def draw_head(self) -> bool:
        """Put a language-model head of random weights where there is none; say whether there was none."""
        if not isinstance(self.head, NoHead):
            return False
        tokens = self.embedding.tokens
        head = Head(self.config, torch.nn.Embedding(tokens.num_embeddings, tokens.embedding_dim, device="meta"))
        initialize(head, self.config)
        if self.config.head.tied:
            head.output.weight = tokens.weight
        self.head = head.to(tokens.weight.device, tokens.weight.dtype)
        return True

    def key_map(self) -> KeyMap:
        """The key table of the class that the model is saved as, with the body named as in the family's own class."""
        assert self.preset is not None, "only a family has a table"
        table = self.preset.keys(self.options)
        lacks = [] if self.decoder is not None or self.config.encoder is None else ["decoder."]
        lacks += ["head."] if isinstance(self.head, NoHead) else []
        entries = (
            [entry for entry in table.entries if not entry.ours[0].startswith(tuple(lacks))]
            if lacks
            else [*table.entries]
        )
        return replace(table, entries=(*entries, *self._head_entries()))

    def _head_entries(self) -> list[Entry]:
        head = self.heads["task"] if self.task_class is not None else None
        return self.task_class.entries(head.shape) if self.task_class and isinstance(head, TaskHead) else []

    def settle(self, theirs: Mapping[str, Tensor], folder: Path, named: object) -> Mapping[str, Tensor]:
        """Leave out the parts that a folder has not, as its class has not; give its weights by the family's own names."""
        if self.preset is None or self.classes is None:
            if not any(name.startswith("head.") for name in theirs):
                self.drop_head(str(folder))
            return theirs
        table, family = self.key_map(), self.classes
        known = frozenset({entry.theirs for entry in table.entries} | table.ignored)
        theirs = read_names(theirs, known, family, self.task_class.prefix if self.task_class else None)
        head = {entry.theirs for entry in table.entries if entry.ours[0].startswith("head.")}
        if self.task_class is not None or (named != self.preset.architecture and not head & theirs.keys()):
            self.drop_head(str(folder))
        self.rest = {name: theirs[name] for name in family.spare if name in theirs}
        for entry in self._head_entries():
            self.rest.pop(entry.theirs, None)
        return theirs

    def saved_class(self) -> tuple[str, str]:
        """The name of the class that the model is saved as, and what the names of its body begin with there."""
        assert self.preset is not None, "only a family has classes"
        family, kind = self.classes, self.task_class
        if family is None:
            return self.preset.architecture, ""
        if kind is not None:
            return kind.architecture, family.prefix if kind.prefix is None else kind.prefix
        if self.decoder is None and family.encoder:
            return family.encoder, ""
        return (family.body, "") if isinstance(self.head, NoHead) else (self.preset.architecture, family.prefix)

    def written_map(self) -> KeyMap:
        """The key table of the class that the model is saved as, what it keeps of its folder included."""
        table, head = self.key_map(), self._head_entries()
        body = [*table.entries[: len(table.entries) - len(head)], *(Entry(name, (REST + name,)) for name in self.rest)]
        if self.classes is not None:
            body = write_names(body, self.classes, self.saved_class()[1])
        return KeyMap((*body, *head), table.ignored)
