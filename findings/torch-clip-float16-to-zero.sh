#!/usr/bin/env bash
# torch 2.15.0. Seen on 2026-11-29.
# Expected: clip_grad_norm_ scales finite gradients so that their norm is max_norm, whatever their dtype: the norm is a sum of squares and wants float32.
# Happens: the norm is kept in the gradients' dtype. Of finite float16 gradients whose norm is above 65504 it is infinity, and every gradient becomes 0, without an error:
#   error_if_nonfinite is False by default. With gradients of both dtypes the float32 ones become 0 too.
# Matters: gradients of a scaled float16 loss, which are meant to be large, vanish: the step is made, momentum and weight decay go on, and nothing is learned. Only a norm of inf
#   in the log tells.
# Source: torch/nn/utils/clip_grad.py: norms per tensor in its dtype, then a norm of their stack; the factor is max_norm / (norm + 1e-6).
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
def report(what, *gradients):
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients): parameter.grad = gradient.clone()
    true = torch.cat([gradient.double() for gradient in gradients]).norm()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.)
    print(f"{what}: the norm is {true:.1f}, it says {norm:.1f}; after clipping to 1 it is {torch.cat([p.grad.double() for p in parameters]).norm():.2f}")
large = torch.full((4,), 40000.)
report("float32", large)
report("float16", large.half())
report("one of float16, one of float32", large.half(), torch.ones(4))
E
observe python "$tmp/program.py"
verdict <<'E'
float32: the norm is 80000.0, it says 80000.0; after clipping to 1 it is 1.00
float16: the norm is 80000.0, it says inf; after clipping to 1 it is 0.00
one of float16, one of float32: the norm is 80000.0, it says inf; after clipping to 1 it is 0.00
E
