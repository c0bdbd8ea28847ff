#!/usr/bin/env bash
# peft 0.21.2, torch 2.15.0. Seen on 2026-11-30.
# Expected: merge_and_unload of an OFT adapter on a 3x3 convolution keeps the layer's outputs, as it does on a linear layer and on a 1x1 convolution.
# Happens: the outputs become others, by as much as the adapter itself had changed them; unmerging brings the right ones back. BOFT is right for 3x3.
# Matters: a tuned diffusion model that was merged for speed gives pictures that it was never trained to give.
# Source: seen by running; peft/tuners/oft/layer.py holds both paths.
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 transformers==5.23.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from peft import BOFTConfig, OFTConfig, get_peft_model
for what, layer, config, shape in (("OFT, linear", torch.nn.Linear(8, 12), OFTConfig(oft_block_size=4, target_modules=["0"]), (2, 8)),
                                   ("OFT, 1x1", torch.nn.Conv2d(8, 12, 1), OFTConfig(oft_block_size=4, target_modules=["0"]), (2, 8, 9, 9)),
                                   ("OFT, 3x3", torch.nn.Conv2d(8, 12, 3), OFTConfig(oft_block_size=4, target_modules=["0"]), (2, 8, 9, 9)),
                                   ("BOFT, 3x3", torch.nn.Conv2d(8, 12, 3), BOFTConfig(boft_block_size=4, target_modules=["0"]), (2, 8, 9, 9))):
    torch.manual_seed(0)
    model = get_peft_model(torch.nn.Sequential(layer), config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad: parameter.data += 0.3 * torch.randn_like(parameter)
    data = torch.randn(shape)
    with torch.no_grad():
        adapted = model(data)
        with model.disable_adapter(): plain = model(data)
        model.merge_adapter(); merged = model(data); model.unmerge_adapter(); again = model(data)
    size = (adapted - plain).abs().mean()
    print(f"{what}: merged differs by {((merged - adapted).abs().mean() / size).item():.1f} of what the adapter does, unmerged by {((again - adapted).abs().mean() / size).item():.1f}")
E
observe python "$tmp/program.py"
verdict <<'E'
OFT, linear: merged differs by 0.0 of what the adapter does, unmerged by 0.0
OFT, 1x1: merged differs by 0.0 of what the adapter does, unmerged by 0.0
OFT, 3x3: merged differs by 1.0 of what the adapter does, unmerged by 0.0
BOFT, 3x3: merged differs by 0.0 of what the adapter does, unmerged by 0.0
E
