"""Weights of which each process holds a share: fully sharded data parallelism, torch's own (FSDP2; Zhao et al. 2023).

The rows of every weight, of its gradient and of its moments are dealt out to the processes. Just before a block computes,
its weights are gathered in the dtype of computation, and let go of after it; gradients are summed in float32 and dealt out
again.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from trifold.training.precision import Weights

__all__ = ["Sharded"]


class Sharded(Weights):
    """The share of this process in the exact weights of a model; torch makes the lean ones on the way.

    All processes have to call what computes with the model, and `norm` and `exact_copy`, at once.

    Args:
        model: taken over; the same in all processes. Its blocks are gathered one by one, all else together.
        dtype: of the model's computation.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        from torch.distributed.tensor import Shard

        lean = torch.bfloat16 if dtype == torch.bfloat16 else None
        exact = torch.float32 if lean else dtype
        super().__init__(model, exact)
        self.outline = _without_numbers(model)
        self.rank, self.size, self.rows = dist.get_rank(), dist.get_world_size(), [Shard(0)]
        self.mesh = init_device_mesh(next(model.parameters()).device.type, (self.size,))
        self.exact = self.lean = {}  # nobody holds on to a whole weight while they are dealt out
        _shard(model, self.mesh, lean)
        self.exact = self.lean = dict(model.named_parameters())

    def norm(self) -> Tensor:
        """Of all gradients that are placed, of all processes, as one vector."""
        return _whole(super().norm())

    def part(self, whole: Tensor) -> Tensor:
        """This process's rows of a weight, or of a moment of its shape; a counter is held by all."""
        from torch.distributed.tensor import distribute_tensor

        here = whole.to(self.mesh.device_type)
        return distribute_tensor(here, self.mesh, self.rows, src_data_rank=None) if whole.ndim else whole

    def local(self, held: Tensor) -> Tensor:
        """What `part` gave, or has become since, as a plain tensor."""
        from torch.distributed.tensor import DTensor

        return held.to_local() if isinstance(held, DTensor) else held

    def whole_model(self) -> nn.Module:
        """As `exact_copy`: nobody has all weights but in a copy, which the first process gets."""
        return self.exact_copy()

    @torch.no_grad()
    def exact_copy(self) -> nn.Module:
        """A copy of the model with its exact weights as they are now, in the first process; elsewhere without numbers."""
        mine = dict(self.outline.named_parameters())
        fresh: dict[int, nn.Parameter] = {}
        for name, share in self.exact.items():  # one by one, so that the others never hold more than one of them
            whole = _whole(share.detach())
            if self.rank == 0:
                fresh[id(mine[name])] = nn.Parameter(whole.cpu(), requires_grad=share.requires_grad)
        return copy.deepcopy(self.outline, fresh)

    @contextmanager
    def exact_model(self) -> Iterator[nn.Module]:
        """The model with its exact weights in place, for saving."""
        yield self.exact_copy()


def _without_numbers(model: nn.Module) -> nn.Module:
    empty = {
        id(x): nn.Parameter(torch.empty_like(x, device="meta"), requires_grad=x.requires_grad)
        for x in model.parameters()
    }
    return copy.deepcopy(model, empty)


def _shard(model: nn.Module, mesh: DeviceMesh, lean: torch.dtype | None) -> None:
    """Deal out the weights of each block and of what is around them; gradients are to be sums, not means."""
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(
        param_dtype=lean, reduce_dtype=torch.float32 if lean else None, cast_forward_inputs=False
    )
    blocks = [block for name, stack in model.named_modules() if name.endswith(".blocks") for block in stack.children()]
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, mp_policy=policy)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # the one kind of sum that gloo knows


def _whole(held: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return held.full_tensor() if isinstance(held, DTensor) else held
