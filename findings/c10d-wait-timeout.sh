#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: Work.wait(timeout) that raised "Operation timed out!" has given the operation up: the tensor keeps its value, or the group can no longer be used.
# Happens: the all_reduce goes on. It changes the tensor later, while the caller believes it failed, and the group works: the same call again adds the sum once more.
#   For irecv the same expired wait does end the connection: the peer's send fails, for good.
# Matters: code that retries after a time-out doubles gradients without an error; code that keeps the old value has it overwritten behind its back.
# Source: torch/csrc/distributed/c10d/Work.cpp (Work::wait waits on a condition and does not cancel), ProcessGroupGloo.cpp (RecvWork::wait calls waitRecv with the time-out).
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import time, torch, torch.distributed as dist
from datetime import timedelta
dist.init_process_group("gloo")
rank = dist.get_rank()
short = timedelta(milliseconds=500)
x = torch.full((2,), rank + 1.)
if rank == 1: time.sleep(3)
work = dist.all_reduce(x, async_op=True)
if rank == 0:
    try: work.wait(short)
    except RuntimeError as error: print(f"all_reduce of 1 and 2: {error}, the tensor is {x.tolist()}")
    time.sleep(5); print(f"5 s later, without any call: {x.tolist()}")
else:
    work.wait(); time.sleep(2)
dist.all_reduce(x)
if rank == 0: print(f"the same call again: {x.tolist()}")
dist.barrier()
y = torch.zeros(2)
if rank == 0:
    try: dist.irecv(y, 1).wait(short)
    except RuntimeError as error: print("irecv:", "Timed out waiting 500ms" in str(error) and "timed out")
else:
    time.sleep(3)
    try: dist.send(torch.ones(2), 0); print("send: done")
    except RuntimeError as error: print("the peer's send:", str(error).split("]")[1].split("[")[0].strip())
E
verdict <<'E'
all_reduce of 1 and 2: Operation timed out!, the tensor is [1.0, 1.0]
5 s later, without any call: [3.0, 3.0]
the same call again: [6.0, 6.0]
irecv: timed out
the peer's send: Connection closed by peer
E
