"""What a device refuses, which is what the other tests here rely on: a stand-in that allowed it would show nothing."""

import pytest
import torch


def test_its_tensors_are_not_mixed_with_those_of_the_cpu(device):
    here, there = torch.ones(3, 3), torch.ones(3, 3, device=device)
    for mix in (lambda: here + there, lambda: there @ here, lambda: torch.cat([there, here]),
                lambda: there.gather(0, torch.zeros(1, 3, dtype=torch.long)), lambda: there.add_(here)):  # fmt: skip
        with pytest.raises(RuntimeError, match="device"):
            mix()
    assert (there * torch.tensor(2.0)).sum().item() == 18.0, "a single number may come from anywhere"
    assert there[torch.tensor([0, 2])].shape == (2, 3), "and so may indices"


def test_its_tensors_are_no_arrays(device):
    with pytest.raises((RuntimeError, TypeError)):
        torch.ones(3, device=device).numpy()


def test_its_tensors_have_no_address_on_the_cpu(device):
    there = torch.ones(3, device=device)
    if device.type == "cuda":
        assert there.data_ptr() != there.cpu().data_ptr()
    else:
        assert there.data_ptr() == 0, "our kernels could read it"
