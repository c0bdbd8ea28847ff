#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0, torch 2.15.0, gloo. Seen on 2026-11-30.
# Expected: DistributedLossWrapper, with the network and the loss in DistributedDataParallel, gives all parameters the gradients of one process with the whole batch.
# Happens: the encoder gets them, but the weights of the loss itself (proxies, class centres) N times as large on N ranks: each rank has their whole gradient already, and the wrapper
#   multiplies the loss by N to make up for the mean over the ranks. The loss that it returns is N times as large as well.
# Matters: ArcFace, ProxyAnchor and the like train their classes at N times the learning rate with SGD; gradient clipping and logged losses change with the number of ranks.
# Source: pytorch_metric_learning/utils/distributed.py, forward_regular_loss (loss * world_size); github.com/KevinMusgrave/pytorch-metric-learning/issues/710 on wrapping the loss.
. "$(dirname "$0")/common.sh"
python_packages pytorch-metric-learning==2.9.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/gradients.py" <<'E'
import torch, torch.distributed as dist
from pytorch_metric_learning import losses
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
data, labels = torch.randn(24, 6), torch.arange(24) % 4
mine = slice(rank * 24 // world, (rank + 1) * 24 // world)
for make in losses.ProxyAnchorLoss, losses.ArcFaceLoss, losses.NormalizedSoftmaxLoss:
    torch.manual_seed(1)
    encoder, loss = torch.nn.Linear(6, 5), make(num_classes=4, embedding_size=5)
    whole = loss(encoder(data), labels)
    alone = torch.autograd.grad(whole, [encoder.weight, *loss.parameters()])
    ddp, wrapped = DistributedDataParallel(encoder), DistributedDataParallel(DistributedLossWrapper(loss))
    got = wrapped(ddp(data[mine]), labels[mine])
    got.backward()
    ratio = [round((parameter.grad.norm() / gradient.norm()).item(), 2) for parameter, gradient in zip([encoder.weight, *loss.parameters()], alone)]
    if rank == 0: print(f"{world} ranks, {make.__name__}: gradient of the encoder {ratio[0]} times that of one process, of the loss's weights {ratio[1]}, loss {(got / whole).item():.2f}")
E
for n in 2 4; do ranks $n < "$tmp/gradients.py"; done
verdict <<'E'
2 ranks, ProxyAnchorLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 2.0, loss 2.00
2 ranks, ArcFaceLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 2.0, loss 2.00
2 ranks, NormalizedSoftmaxLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 2.0, loss 2.00
4 ranks, ProxyAnchorLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 4.0, loss 4.00
4 ranks, ArcFaceLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 4.0, loss 4.00
4 ranks, NormalizedSoftmaxLoss: gradient of the encoder 1.0 times that of one process, of the loss's weights 4.0, loss 4.00
E
