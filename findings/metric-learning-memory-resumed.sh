#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: CrossBatchMemory, a module whose state_dict holds its queue of embeddings and labels, goes on after load_state_dict as if it had not been interrupted.
# Happens: the queue comes back, but its place and whether it was full are plain attributes and start anew: the loss sees none of the restored rows and counts the memory as empty.
#   Its values are others until the queue has been filled once more. load_state_dict reports that all keys matched. A saved queue costs its space in each checkpoint for nothing.
# Matters: with a memory of many batches each resumed run trains a while with much fewer negatives, and its curve has a step at each resume.
# Source: pytorch_metric_learning/losses/cross_batch_memory.py (reset_queue: register_buffer for the queue, has_been_filled and queue_idx beside it).
. "$(dirname "$0")/common.sh"
python_packages pytorch-metric-learning==2.9.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory
torch.manual_seed(0)
batches = [(torch.randn(16, 8), torch.randint(0, 4, (16,))) for _ in range(14)]
def memory(): return CrossBatchMemory(ContrastiveLoss(), embedding_size=8, memory_size=128)
running, resumed = memory(), memory()
for batch in batches[:10]: running(*batch)
print(resumed.load_state_dict(running.state_dict()), "queue restored:", torch.equal(resumed.embedding_memory, running.embedding_memory))
rows = lambda loss: len(loss.embedding_memory) if loss.has_been_filled else loss.queue_idx
print(f"rows in use: running {rows(running)}, resumed {rows(resumed)}")
for batch in batches[10:]:
    losses = running(*batch), resumed(*batch)
    print(f"rows in use: running {rows(running)}, resumed {rows(resumed)}, the same loss: {torch.allclose(*losses)}")
resumed.has_been_filled, resumed.queue_idx = running.has_been_filled, 0  # these two by hand
resumed.load_state_dict(running.state_dict()); resumed.queue_idx = running.queue_idx
print("the same loss, with the two attributes set by hand:", torch.equal(running(*batches[0]), resumed(*batches[0])))
E
observe python "$tmp/program.py"
verdict <<'E'
<All keys matched successfully> queue restored: True
rows in use: running 128, resumed 0
rows in use: running 128, resumed 16, the same loss: False
rows in use: running 128, resumed 32, the same loss: False
rows in use: running 128, resumed 48, the same loss: False
rows in use: running 128, resumed 64, the same loss: False
the same loss, with the two attributes set by hand: True
E
