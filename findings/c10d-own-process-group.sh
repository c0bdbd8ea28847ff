#!/usr/bin/env bash
# torch 2.15.0 beside 2.11.0, c10d with a process group written in Python. Seen on 2026-11-29.
# Expected: a subclass of ProcessGroup that overrides _allgather_base and _reduce_scatter_base, as all had to, works on: 2.15 keeps both names, marked "deprecated".
# Happens: 2.15 calls all_gather_single and reduce_scatter_single instead, and the old names are no longer asked for when Python overrides them: all_gather_into_tensor,
#   reduce_scatter_tensor and even all_gather_object end in "No backend type associated with device type cpu". all_to_all_single still calls its old name.
# Matters: a wrapper, a simulator or a backend of one's own must define both generations; the message does not lead there.
# Source: torch/include/torch/csrc/distributed/c10d/py/PyProcessGroup.hpp of 2.15.0 (it forwards the new names only) and ProcessGroup.hpp.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import torch, torch.distributed as dist
def done(value):
    future = torch.futures.Future(); future.set_result(value)
    return torch._C._distributed_c10d._create_work_from_future(future)
class Mine(dist.ProcessGroup):
    def __init__(self, rank, size): super().__init__(rank, size); self.calls = []
    def getBackendName(self): return "mine"
    def _allgather_base(self, output, input, options=None): self.calls.append("_allgather_base"); output.copy_(input); return done(output)
    def _reduce_scatter_base(self, output, input, options=None): self.calls.append("_reduce_scatter_base"); output.copy_(input); return done(output)
    def allgather(self, outputs, inputs, options=None): self.calls.append("allgather"); outputs[0][0].copy_(inputs[0]); return done(outputs)
    def alltoall_base(self, output, input, *more): self.calls.append("alltoall_base"); output.copy_(input); return done(output)
dist.Backend.register_backend("mine", lambda store, rank, size, timeout: Mine(rank, size), devices=["cpu"])
dist.init_process_group("mine", rank=0, world_size=1, store=dist.HashStore())
for name, call in (("all_gather_into_tensor", lambda: dist.all_gather_into_tensor(torch.zeros(2), torch.ones(2))),
                   ("reduce_scatter_tensor", lambda: dist.reduce_scatter_tensor(torch.zeros(2), torch.ones(2))),
                   ("all_gather_object", lambda: dist.all_gather_object([None], 3)),
                   ("all_to_all_single", lambda: dist.all_to_all_single(torch.zeros(2), torch.ones(2)))):
    calls = dist.group.WORLD.calls; calls.clear()
    try: call(); answer = f"calls {', '.join(calls)}"
    except RuntimeError as error: answer = f"RuntimeError: {error}"
    print(f"{torch.__version__.split('+')[0]} {name}: {answer}")
E
for version in 2.11.0 2.15.0; do
  python_packages torch==$version numpy==2.4.6
  observe python "$tmp/program.py"
done
verdict <<'E'
2.11.0 all_gather_into_tensor: calls _allgather_base
2.11.0 reduce_scatter_tensor: calls _reduce_scatter_base
2.11.0 all_gather_object: calls allgather, allgather
2.11.0 all_to_all_single: calls alltoall_base
2.15.0 all_gather_into_tensor: RuntimeError: No backend type associated with device type cpu
2.15.0 reduce_scatter_tensor: RuntimeError: No backend type associated with device type cpu
2.15.0 all_gather_object: RuntimeError: No backend type associated with device type cpu
2.15.0 all_to_all_single: calls alltoall_base
E
