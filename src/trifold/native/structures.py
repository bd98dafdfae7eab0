"""What the passes are handed, field by field as in C: where numbers lie, what is seen of them, how they are moved."""

import ctypes

__all__ = ["FLOAT", "INTEGER", "POINTER", "Adam", "Moved", "Shared", "Turn", "View"]

INTEGER, POINTER, FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float


class View(ctypes.Structure):
    """Which keys a block of queries sees, and what is added to their scores (`struct view` in `passes.c`)."""

    _fields_ = (
        ("groups", INTEGER),
        ("heads", INTEGER),
        ("queries", INTEGER),
        ("keys", INTEGER),
        ("causal", INTEGER),
        ("seen", POINTER),
        ("seen_row", INTEGER),
        ("seen_query", INTEGER),
        ("bias", POINTER),
        ("bias_row", INTEGER),
        ("bias_head", INTEGER),
        ("bias_query", INTEGER),
        ("seed", INTEGER),
        ("first_group", INTEGER),
        ("first_query", INTEGER),
        ("first_key", INTEGER),
        ("scale", FLOAT),
        ("chance", FLOAT),
    )


class Turn(ctypes.Structure):
    """Where queries and keys lie that are turned (`struct rotation` in `passes.c`)."""

    _fields_ = (
        ("rows", INTEGER),
        ("seq", INTEGER),
        ("heads", INTEGER),
        ("size", INTEGER),
        ("x_row", INTEGER),
        ("x_seq", INTEGER),
        ("x_head", INTEGER),
        ("y_row", INTEGER),
        ("y_seq", INTEGER),
        ("y_head", INTEGER),
        ("angle_row", INTEGER),
        ("turn", FLOAT),
    )


class Shared(ctypes.Structure):
    """Keys and values that lie in the places of several rows (`struct shared` in `search.c`)."""

    _fields_ = (
        ("rows", INTEGER),
        ("heads", INTEGER),
        ("share", INTEGER),
        ("size", INTEGER),
        ("keys", INTEGER),
        ("key", POINTER),
        ("value", POINTER),
        ("row_step", INTEGER),
        ("key_step", INTEGER),
        ("head_step", INTEGER),
        ("origin", POINTER),
        ("origin_row", INTEGER),
        ("origin_key", INTEGER),
        ("seen", POINTER),
        ("seen_row", INTEGER),
        ("bias", POINTER),
        ("bias_row", INTEGER),
        ("bias_head", INTEGER),
        ("scale", FLOAT),
    )


class Moved(ctypes.Structure):
    """A weight that AdamW moves, its moments, its gradient (one of two) and its copy (`struct moved` in `optimizer.c`)."""

    _fields_ = (
        ("count", INTEGER),
        ("weight", POINTER),
        ("mean", POINTER),
        ("square", POINTER),
        ("grad", POINTER),
        ("sum", POINTER),
        ("copy", POINTER),
    )


class Adam(ctypes.Structure):
    """The numbers of a step of AdamW (`struct adam` in `optimizer.c`)."""

    _fields_ = tuple((name, FLOAT) for name in ("factor", "decay", "beta1", "beta2", "rate", "root", "eps"))
