"""How good a model is: baselines, bits per byte, plans and reports."""

__all__: list[str] = []
