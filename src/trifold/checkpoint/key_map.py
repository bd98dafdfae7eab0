"""Names of weights here and elsewhere, as plain data that reads both ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Entry", "KeyMap", "numbered", "paired"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One weight elsewhere and the weights here that it holds.

    Attributes:
        theirs: name elsewhere.
        ours: names here; several are stacked along dimension 0 (after `transpose`).
        transpose: elsewhere it is stored input first.
        optional: may be absent elsewhere (a copy of a tied weight), and is not written; where it is there, it is compared.
        unused: is written as a copy, and not read.
        otherwise: name elsewhere to read where `theirs` is absent; "" for none.
        change: `unsqueeze` when it has a leading dimension of 1 elsewhere.

    Example:
        >>> Entry("c_attn.weight", ("q", "k", "v"), transpose=True).ours
        ('q', 'k', 'v')
    """

    theirs: str
    ours: tuple[str, ...]
    transpose: bool = False
    optional: bool = False
    unused: bool = False
    otherwise: str = ""
    change: Literal["none", "unsqueeze"] = "none"


def numbered(entries: Sequence[Entry], count: int) -> list[Entry]:
    """The entries once for each layer, `{}` standing for its number.

    Example:
        >>> [entry.theirs for entry in numbered([Entry("h.{}.w", ("blocks.{}.w",))], 2)]
        ['h.0.w', 'h.1.w']
    """
    return [
        replace(entry, theirs=entry.theirs.format(layer), ours=tuple(name.format(layer) for name in entry.ours))
        for layer in range(count)
        for entry in entries
    ]


def paired(names: Mapping[str, str], *, ours: str = "", theirs: str = "") -> list[Entry]:
    """Entries for the weight and the bias of modules that have both.

    Args:
        names: the modules, ours to theirs.
        ours: what our names begin with.
        theirs: what theirs begin with.

    Example:
        >>> [entry.theirs for entry in paired({"norm": "LayerNorm"}, theirs="body.")]
        ['body.LayerNorm.weight', 'body.LayerNorm.bias']
    """
    return [
        Entry(f"{theirs}{other}.{kind}", (f"{ours}{own}.{kind}",))
        for own, other in names.items()
        for kind in ("weight", "bias")
    ]


@dataclass(frozen=True, slots=True)
class KeyMap:
    """All entries of a model, and names elsewhere that hold nothing trained (buffers).

    `constants`: those of them that are computed here, and how to tell that a file holds the same.
    """

    entries: tuple[Entry, ...]
    ignored: frozenset[str] = frozenset()
    constants: Mapping[str, Callable[[Tensor], bool]] = field(default_factory=dict)

    def to_theirs(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights under their names elsewhere; copies of tied weights are left out."""
        theirs = {}
        for entry in self.entries:
            if not entry.optional:
                parts = [ours[name] for name in entry.ours]
                whole = parts[0] if len(parts) == 1 else torch.cat(parts)
                whole = whole.t() if entry.transpose else whole
                whole = (whole[None] if entry.change == "unsqueeze" else whole).contiguous()
                theirs[entry.theirs] = whole.clone() if entry.unused else whole
        return theirs

    def to_ours(self, theirs: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> "Loaded":
        """Weights under our names; `shapes` says how those that share one of theirs part it."""
        loaded = Loaded({}, [], [], [], [])
        known = {entry.theirs for entry in self.entries} | self.ignored
        loaded.unexpected.extend(sorted(name for name in theirs if name not in known))
        absent = []
        for entry in sorted(self.entries, key=lambda one: one.optional):  # copies last
            found = theirs.get(entry.theirs)
            if found is not None and not entry.unused:
                self._part(entry, found, shapes, loaded)
            elif entry.otherwise in theirs:
                self._part(entry, theirs[entry.otherwise].clone(), shapes, loaded)
            elif not entry.optional and not entry.unused:
                absent.append(entry)
        missing = [entry.theirs for entry in absent if not all(name in loaded.weights for name in entry.ours)]
        loaded.missing.extend(missing)
        wrong = [name for name, same in self.constants.items() if name in theirs and not same(theirs[name])]
        loaded.differing.extend(wrong)
        return loaded

    @staticmethod
    def _part(entry: Entry, whole: Tensor, shapes: Mapping[str, torch.Size], loaded: "Loaded") -> None:
        stored_shape = tuple(whole.shape)
        if entry.change == "unsqueeze" and whole.ndim > 1 and len(whole) == 1:
            whole = whole[0]
        whole = whole.t() if entry.transpose and whole.ndim == 2 else whole
        wanted = [shapes[name] for name in entry.ours]
        rows = sum(shape[0] for shape in wanted)
        if tuple(whole.shape) != (rows, *wanted[0][1:]):
            loaded.misshapen.append(f"{entry.theirs} {stored_shape}, {(rows, *wanted[0][1:])} wanted")
            return
        if not whole.is_floating_point():
            loaded.misshapen.append(f"{entry.theirs} {whole.dtype}, floating point wanted")
            return
        for name, weight in zip(entry.ours, whole.split([shape[0] for shape in wanted]), strict=True):
            if entry.optional and name in loaded.weights:
                if not torch.equal(weight, loaded.weights[name].to(weight.dtype)):
                    loaded.differing.append(entry.theirs)
                continue
            loaded.weights[name] = weight.contiguous()  # kernels read memory row by row


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of reading: weights under our names, and names of those that did not fit.

    `differing`: copies of a weight that are not equal to it.
    """

    weights: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    differing: list[str]
