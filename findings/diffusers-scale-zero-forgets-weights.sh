#!/usr/bin/env bash
# diffusers 0.42.1, peft 0.21.2, torch 2.15.0. Seen on 2026-11-30.
# Expected: the scale passed with a call (cross_attention_kwargs={"scale": ...}) holds for that call; the weights given by set_adapters stay.
# Happens: a call with scale 0, to see the picture without the adapters, sets all active adapters' weights to 1, for all later calls: after set_adapters with 0.5 and 0.25 the same
#   call as before gives another picture. Any other scale, 0.001 as well, is taken back. get_active_adapters and the pipeline say nothing of it.
# Matters: a comparison over scales 0, 0.5, 1 depends on its order; a service that switches adapters off for one request runs the next ones at full strength. After fuse_lora such a
#   call also makes unfuse_lora take off more than was fused, and the base model itself is another one from then on.
# Source: diffusers/utils/peft_utils.py, unscale_lora_layers (set_scale(adapter_name, 1.0)).
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
torch.manual_seed(0)
noisy, text = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
def unet():
    model = UNet2DConditionModel(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
                                 down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    for name in "one", "two": model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"]), adapter_name=name)
    for name, parameter in model.named_parameters():
        if "lora_" in name: parameter.data.normal_()
    model.set_adapters(["one", "two"], [0.5, 0.25])
    return model
def weights(model): return {name: {module.scaling[name] for module in model.modules() if name in getattr(module, "scaling", {})} for name in ("one", "two")}
@torch.no_grad()
def call(model, scale=1.0): return model(noisy, 500, text, cross_attention_kwargs={"scale": scale}).sample
for scale in 0.5, 0.001, 0.0:
    model = unet()
    first = call(model)
    call(model, scale)
    print(f"weights 0.5 and 0.25, after a call with scale {scale}: {weights(model)}, the first call again gives the same: {torch.allclose(call(model), first, atol=1e-4)}")
for scale in None, 0.0:
    model = unet()
    base = {name: value.clone() for name, value in model.state_dict().items() if "lora_" not in name}
    model.fuse_lora()
    if scale is not None: call(model, scale)
    model.unfuse_lora()
    print(f"fused, a call with scale {scale}, unfused: base model as before: {all(torch.allclose(model.state_dict()[name], value, atol=1e-4) for name, value in base.items())}")
E
observe python "$tmp/program.py"
verdict <<'E'
weights 0.5 and 0.25, after a call with scale 0.5: {'one': {0.5}, 'two': {0.25}}, the first call again gives the same: True
weights 0.5 and 0.25, after a call with scale 0.001: {'one': {0.5}, 'two': {0.25}}, the first call again gives the same: True
weights 0.5 and 0.25, after a call with scale 0.0: {'one': {1.0}, 'two': {1.0}}, the first call again gives the same: False
fused, a call with scale None, unfused: base model as before: True
fused, a call with scale 0.0, unfused: base model as before: False
E
