#!/usr/bin/env bash
# open_clip_torch 3.3.0, torch 2.15.0 with gloo.
# Expected: ClipLoss over N ranks with its default arguments, under a mean over ranks as DDP takes it, has the gradient of the same batch on one process: the loss is equal.
# Happens: the gradient of the encoders is 1/N of it, that of the temperature is whole. With gather_with_grad=True both are whole.
# Matters: the ratio between the two learning rates changes with the number of ranks, gradient clipping acts otherwise, and a loss curve compared with one process hides it.
# Source: open_clip/loss.py, gather_features: without gather_with_grad only the rank's own features carry a gradient.
. "$(dirname "$0")/common.sh"
python_packages open_clip_torch==3.3.0 torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6
ranks 2 <<'E'
import torch, torch.distributed as dist
from open_clip.loss import ClipLoss
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
weight, images, texts = torch.randn(8, 8), torch.randn(16, 8), torch.randn(16, 8)
def gradients(loss, x, y):
    w, scale = weight.clone().requires_grad_(), torch.tensor(2., requires_grad=True)
    value = loss(torch.nn.functional.normalize(x @ w, dim=-1), torch.nn.functional.normalize(y, dim=-1), scale)
    value.backward()
    return value.detach(), w.grad, scale.grad
alone = gradients(ClipLoss(), images, texts)
for options in {}, {"local_loss": True}, {"gather_with_grad": True}, {"local_loss": True, "gather_with_grad": True}:
    mean = gradients(ClipLoss(rank=rank, world_size=size, **options), images.chunk(size)[rank], texts.chunk(size)[rank])
    for value in mean: dist.all_reduce(value, dist.ReduceOp.AVG)
    if rank == 0: print(f"{options}: of one process's, the loss is {mean[0] / alone[0]:.2f}, the encoder's gradient {mean[1].norm() / alone[1].norm():.2f}, the temperature's {mean[2] / alone[2]:.2f}")
E
verdict <<'E'
{}: of one process's, the loss is 1.00, the encoder's gradient 0.50, the temperature's 1.00
{'local_loss': True}: of one process's, the loss is 1.00, the encoder's gradient 0.50, the temperature's 1.00
{'gather_with_grad': True}: of one process's, the loss is 1.00, the encoder's gradient 1.00, the temperature's 1.00
{'local_loss': True, 'gather_with_grad': True}: of one process's, the loss is 1.00, the encoder's gradient 1.00, the temperature's 1.00
E
