"""The configuration of a task of any kind, as one field of a larger one."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from trifold.config import TAGGED
from trifold.task_kinds import config_classes
from trifold.tasks.task import TaskConfig

__all__ = ["AnyTask"]

if TYPE_CHECKING:
    AnyTask = TaskConfig
else:
    AnyTask = Annotated[reduce(or_, config_classes()), TAGGED]
