#!/usr/bin/env bash
# peft 0.21.2, torch 2.15.0. Seen on 2026-11-30.
# Expected: an adapter on a convolution with padding_mode "reflect" pads as the layer does, and merging it changes nothing but rounding.
# Happens: LoRA, DoRA, LoHa and LoKr pad with zeros. The merged layer reflects: at the border the outputs differ as much as the adapter's whole contribution, inside they agree.
#   padding_mode "zeros" agrees everywhere.
# Matters: the generators of CycleGAN and CUT, and many restoration networks, reflect. What was trained and validated is not what is merged and shipped; nothing warns.
# Source: peft/tuners/lora/layer.py (_ConvNd.update_layer passes stride and padding, no padding_mode), peft/tuners/loha/layer.py, peft/tuners/lokr/layer.py.
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 transformers==5.23.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
for kind, config in {"LoRA": lambda: LoraConfig(r=4, target_modules=["0"]), "DoRA": lambda: LoraConfig(r=4, use_dora=True, target_modules=["0"]),
                     "LoHa": lambda: LoHaConfig(r=4, target_modules=["0"]), "LoKr": lambda: LoKrConfig(r=4, target_modules=["0"])}.items():
    for mode in "zeros", "reflect":
        torch.manual_seed(0)
        model = get_peft_model(torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1, padding_mode=mode)), config()).eval()
        for parameter in model.parameters():
            if parameter.requires_grad: parameter.data += 0.5 * torch.randn_like(parameter)
        images = torch.randn(2, 8, 16, 16)
        with torch.no_grad():
            before = model(images)
            off = (model.merge_and_unload()(images) - before).abs()
        print(f"{kind}, {mode}: merging changes the border: {off.max() > 0.01}, the inside: {off[..., 1:-1, 1:-1].max() > 0.0001}")
E
observe python "$tmp/program.py"
verdict <<'E'
LoRA, zeros: merging changes the border: False, the inside: False
LoRA, reflect: merging changes the border: True, the inside: False
DoRA, zeros: merging changes the border: False, the inside: False
DoRA, reflect: merging changes the border: True, the inside: False
LoHa, zeros: merging changes the border: False, the inside: False
LoHa, reflect: merging changes the border: True, the inside: False
LoKr, zeros: merging changes the border: False, the inside: False
LoKr, reflect: merging changes the border: True, the inside: False
E
