#!/usr/bin/env bash
# torch 2.15.0. Seen on 2026-11-30.
# Expected: the number of threads is a matter of speed: a convolution in float32 goes to oneDNN with one thread as with two, and gives the same bits, as 3x3 ones do.
# Happens: with one thread a 1x1 convolution of stride 1 goes to _slow_conv2d, a matrix product per sample; with two or more to oneDNN. Output and gradients then differ in bits.
#   A memory format that oneDNN prefers changes nothing.
# Matters: two of three convolutions in a ResNet-50 are such ones. One rank per core, the usual way to train on processors, takes the path that nobody tunes; and a run repeated
#   with another OMP_NUM_THREADS cannot be compared bit by bit.
# Source: aten/src/ATen/native/Convolution.cpp, ConvParams::use_mkldnn: a 1x1 kernel asks for more than one thread.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
torch.manual_seed(0)
for side in (1, 3):
    x = torch.randn(4, 2048, 14, 14).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(128, 2048, side, side, requires_grad=True)
    results = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            y = torch.conv2d(x, weight, padding=side // 2)
        path = [event.key for event in profile.key_averages() if event.key in ("aten::_slow_conv2d_forward", "aten::mkldnn_convolution")]
        results[threads] = (y.detach(), *torch.autograd.grad(y.sin().sum(), (x, weight)))
        print(f"{side}x{side}, {threads} thread{'s' * (threads > 1)}: {' '.join(path)}")
    same = [torch.equal(one, two) for one, two in zip(results[1], results[2])]
    print(f"{side}x{side}: same bits of output, input's gradient, weight's gradient: {same}")
E
observe python "$tmp/program.py"
verdict <<'E'
1x1, 1 thread: aten::_slow_conv2d_forward
1x1, 2 threads: aten::mkldnn_convolution
1x1: same bits of output, input's gradient, weight's gradient: [False, False, False]
3x3, 1 thread: aten::mkldnn_convolution
3x3, 2 threads: aten::mkldnn_convolution
3x3: same bits of output, input's gradient, weight's gradient: [True, True, True]
E
