"""mBART: BART with its norms before the branches and one after each stack (Liu et al. 2020).

Its sizes are BART's.
"""

from dataclasses import replace

from trifold.checkpoint import KeyMap, paired
from trifold.model import config
from trifold.presets import bart
from trifold.presets.field import Fields

__all__ = ["PRESET", "build", "keys"]


def build(options: bart.Options) -> config.Transformer:
    """The configuration."""
    residual = config.Residual(pre_norm=config.LayerNorm(), dropout=options.dropout)
    shape, last = bart.build_around(options, residual), config.LayerNorm()
    assert shape.encoder
    assert shape.decoder
    return replace(
        shape, encoder=replace(shape.encoder, final_norm=last), decoder=replace(shape.decoder, final_norm=last)
    )


def keys(options: bart.Options) -> KeyMap:
    """The key table."""
    table = bart.keys(options)
    entries = [
        replace(entry, ours=tuple(name.replace("post_norm", "pre_norm") for name in entry.ours))
        for entry in table.entries
    ]
    entries += paired({f"{stack}.final_norm": f"model.{stack}.layer_norm" for stack in bart.STACKS})
    return replace(table, entries=tuple(entries))


FIELDS = bart.FIELDS | Fields(published={"normalize_before": True, "add_final_layer_norm": True})


PRESET = replace(
    bart.PRESET,
    name="mbart",
    model_type="mbart",
    architecture="MBartForConditionalGeneration",
    sizes={name: {**size, "scale_embedding": True} for name, size in bart.PRESET.sizes.items()},
    build=build,
    keys=keys,
    fields=FIELDS,
)
