#!/usr/bin/env bash
# timm 1.0.31, torch 2.15.0. Seen on 2026-11-29.
# Expected: create_optimizer_v2(model, lr=1e-3, layer_decay=0.5) trains early layers with smaller steps: 0.5 to the power of the depth times lr.
# Happens: all groups have lr 1e-3. The factor is noted as lr_scale, which optimizers do not read; only timm's own schedulers multiply by it. Without a scheduler, or with one of
#   torch's, the first layer is trained as fast as the head. param_groups_layer_decay, called directly, also decays cls_token and pos_embed, which the model excepts.
# Matters: fine-tuning a pretrained encoder with layer decay, as recipes ask for, destroys the early layers; the log and the configuration say layer decay.
# Source: timm/optim/_param_groups.py; timm/scheduler/scheduler.py, update_groups.
. "$(dirname "$0")/common.sh"
python_packages timm==1.0.31 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import timm, torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from timm.scheduler import CosineLRScheduler
def made(): torch.manual_seed(0); return timm.create_model("vit_tiny_patch16_224", num_classes=5)
def moves(what, schedule):
    model = made(); optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0., layer_decay=.5); schedule(optimizer)
    names = "patch_embed.proj.weight", "blocks.5.attn.qkv.weight", "head.weight"
    before = [model.get_parameter(name).detach().clone() for name in names]
    model(torch.ones(2, 3, 224, 224)).sum().backward(); optimizer.step()
    print(f"{what}: the first step moves", ", ".join(f"{name} by {(model.get_parameter(name) - old).abs().max():.0e}" for name, old in zip(names, before)))
moves("no scheduler", lambda optimizer: None)
moves("torch's cosine", lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10))
moves("timm's cosine", lambda optimizer: CosineLRScheduler(optimizer, 10))
model = made(); decayed = {id(p) for group in param_groups_layer_decay(model, weight_decay=.05, layer_decay=.5) if group["weight_decay"] for p in group["params"]}
print("excepted by the model:", sorted(model.no_weight_decay()), "decayed by param_groups_layer_decay:", [name for name in ("cls_token", "pos_embed") if id(model.get_parameter(name)) in decayed])
E
observe python "$tmp/program.py"
verdict <<'E'
no scheduler: the first step moves patch_embed.proj.weight by 1e-03, blocks.5.attn.qkv.weight by 1e-03, head.weight by 1e-03
torch's cosine: the first step moves patch_embed.proj.weight by 1e-03, blocks.5.attn.qkv.weight by 1e-03, head.weight by 1e-03
timm's cosine: the first step moves patch_embed.proj.weight by 1e-07, blocks.5.attn.qkv.weight by 8e-06, head.weight by 1e-03
excepted by the model: ['cls_token', 'dist_token', 'pos_embed', 'reg_token'] decayed by param_groups_layer_decay: ['cls_token', 'pos_embed']
E
