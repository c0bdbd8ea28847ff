#!/usr/bin/env bash
# diffusers 0.42.1, peft 0.21.2, torch 2.15.0. Seen on 2026-11-30.
# Expected: fuse_lora(lora_scale=0.5) followed by unfuse_lora leaves the pipeline as it was, and fusing again gives the same as the first time.
# Happens: the base weights come back, but the adapter stays at half strength, and each further round halves it again. With adapter_names the scale goes to the active adapters instead of
#   the named one, which is fused at full strength. set_adapters between fuse_lora and unfuse_lora makes it take off another amount than was put on: the base weights stay changed.
# Matters: trying several scales by fusing and unfusing, or a service that fuses per request, gives pictures that depend on all calls before, and in the end on a damaged base model.
# Source: diffusers/loaders/peft.py, _fuse_lora_apply (scale_layer, never taken back); peft/tuners/lora/layer.py, unmerge (the scale of now).
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
torch.manual_seed(0)
noisy, text = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
def unet(active=("one",)):
    torch.manual_seed(1)
    model = UNet2DConditionModel(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
                                 down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    for name in "one", "two": model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"]), adapter_name=name)
    for name, parameter in model.named_parameters():
        if "lora_" in name: parameter.data.normal_()
    model.set_adapters(list(active))
    return model
def weights(model): return {name: {module.scaling[name] for module in model.modules() if name in getattr(module, "scaling", {})} for name in ("one", "two")}
def base(model): return torch.cat([value.flatten() for name, value in model.state_dict().items() if "lora_" not in name])
@torch.no_grad()
def call(model): return model(noisy, 500, text).sample
def same(one, two): return torch.allclose(one, two, atol=1e-4)
model = unet()
before, whole, fused = base(model), call(model), []
for turn in 1, 2, 3:
    model.fuse_lora(lora_scale=0.5); fused.append(call(model)); model.unfuse_lora()
    print(f"fused with 0.5 and unfused, {turn}: weight of 'one' {weights(model)['one']}, fused as the first time: {same(fused[-1], fused[0])},",
          f"base as before: {same(base(model), before)}, call as before: {same(call(model), whole)}")
model, other = unet(), unet()
model.fuse_lora(lora_scale=0.5, adapter_names=["two"]); other.fuse_lora(adapter_names=["two"])
print(f"'one' is active, 'two' fused with 0.5: {weights(model)}, base as if fused with 1: {same(base(model), base(other))}")
model = unet()
model.set_adapters(["one"], [0.5]); model.fuse_lora(); model.set_adapters(["one"], [1.0]); model.unfuse_lora()
print(f"fused with 0.5, set_adapters with 1, unfused: base as before: {same(base(model), before)}")
E
observe python "$tmp/program.py"
verdict <<'E'
fused with 0.5 and unfused, 1: weight of 'one' {0.5}, fused as the first time: True, base as before: True, call as before: False
fused with 0.5 and unfused, 2: weight of 'one' {0.25}, fused as the first time: False, base as before: True, call as before: False
fused with 0.5 and unfused, 3: weight of 'one' {0.125}, fused as the first time: False, base as before: True, call as before: False
'one' is active, 'two' fused with 0.5: {'one': {0.5}, 'two': {1.0}}, base as if fused with 1: True
fused with 0.5, set_adapters with 1, unfused: base as before: False
E
