#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: recv into a tensor of another size than the one sent raises, on both sides or on one.
# Happens: where the receiver's tensor is longer, recv fills its beginning, leaves the rest as it was and returns the sender's rank as ever. Nothing tells how much arrived.
# Matters: the last batch of an epoch is shorter; a receiver with a buffer of full size goes on with the previous batch's rows at its end.
# Source: gloo/transport/tcp/pair.cc: only a message that is longer than the buffer is refused.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
buffer = torch.zeros(4)
for batch in [1., 2., 3., 4.], [5., 6.]:
    if dist.get_rank() == 1: dist.send(torch.tensor(batch), 0)
    else:
        source = dist.recv(buffer, 1)
        print(f"sent {batch}: recv returns {source}, the buffer is {buffer.tolist()}")
E
verdict <<'E'
sent [1.0, 2.0, 3.0, 4.0]: recv returns 1, the buffer is [1.0, 2.0, 3.0, 4.0]
sent [5.0, 6.0]: recv returns 1, the buffer is [5.0, 6.0, 3.0, 4.0]
E
