#!/usr/bin/env bash
# diffusers 0.42.1, peft 0.21.2, torch 2.15.0. Seen on 2026-11-29.
# Expected: an adapter that was trained with rank 4 and lora_alpha 16 and saved by save_lora_weights does the same when it is loaded again.
# Happens: the file holds the matrices only. Loading takes alpha = rank, so the adapter works at scale 1 instead of 4, without a word. Only whoever also passes
#   unet_lora_adapter_metadata, which is optional, gets alpha into the file's header; readers of tensors alone never see it.
# Matters: a translation that was trained strong comes out weak, and looks like too little training. It goes unseen as long as lora_alpha equals the rank.
# Source: diffusers/loaders/lora_base.py, LoraBaseMixin._save_lora_weights; diffusers/utils/peft_utils.py, get_peft_kwargs.
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
                                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
torch.manual_seed(1)
noisy, text = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
def report(what, model):
    scales = {scale for module in model.modules() for scale in getattr(module, "scaling", {}).values()}
    with torch.no_grad(): print(f"{what}: scales {scales}, it moves the answer by {(model(noisy, 500, text).sample - unet()(noisy, 500, text).sample).norm():.1f}")
trained, config = unet(), LoraConfig(r=4, lora_alpha=16, target_modules=["to_q", "to_v"])
trained.add_adapter(config)
with torch.no_grad(): [value.normal_() for name, value in trained.named_parameters() if "lora_" in name]
report("trained with rank 4, lora_alpha 16", trained)
for what, metadata in ("as is", None), ("with metadata", config.to_dict()):
    StableDiffusionPipeline.save_lora_weights(what, unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(trained)), unet_lora_adapter_metadata=metadata)
    with safe_open(f"{what}/pytorch_lora_weights.safetensors", "pt") as file: print(f"{what}: alpha in tensors {any('alpha' in key for key in file.keys())}, in the header {'alpha' in str(file.metadata())}")
    again = unet()
    layers, alphas, metadata = StableDiffusionPipeline.lora_state_dict(what, return_lora_metadata=True)
    StableDiffusionPipeline.load_lora_into_unet(layers, alphas, again, metadata=metadata)
    report(f"{what}, loaded", again)
E
cd "$tmp"
observe python program.py
verdict <<'E'
trained with rank 4, lora_alpha 16: scales {4.0}, it moves the answer by 6.3
as is: alpha in tensors False, in the header False
as is, loaded: scales {1.0}, it moves the answer by 4.3
with metadata: alpha in tensors False, in the header True
with metadata, loaded: scales {4.0}, it moves the answer by 6.3
E
