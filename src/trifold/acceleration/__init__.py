"""Faster twins of the model's parts, put in the place of the plain ones from outside.

A twin has the parameters and the parts of what it stands in for, under the same names, and computes the same to rounding.
Where a part has a hook, or another module stands in its place, that part is called by itself.
"""

from trifold.acceleration.twins import TWINS, accelerate, decelerate

__all__ = ["TWINS", "accelerate", "decelerate"]
