#!/usr/bin/env bash
# timm 1.0.31, torch 2.15.0. Seen on 2026-11-29.
# Expected: create_model(name, img_size=96) is a model for 96: own weights of size 224, given as checkpoint_path, have their position embedding resampled as pretrained ones
#   have, and the data configuration asked of the model says 96.
# Happens: checkpoint_path refuses the file; the same file given as pretrained weights (pretrained_cfg_overlay) is resampled. The data configuration says 224, also after
#   set_input_size, for ViT and Swin alike, so the transform made from it gives pictures that the model refuses.
# Matters: an encoder fine-tuned at one size and continued at another works through one door and not through the other. With dynamic_img_size the wrong size raises
#   nothing: evaluation runs at another resolution than training did.
# Source: timm/models/_builder.py (checkpoint_filter_fn is used for pretrained weights alone) and timm/data/config.py (reads pretrained_cfg, not the model's size).
. "$(dirname "$0")/common.sh"
python_packages timm==1.0.31 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import os, timm, torch
from timm.data import create_transform, resolve_model_data_config
from PIL import Image
os.chdir(os.environ["TMPDIR"])
name = "vit_tiny_patch16_224"
torch.save(timm.create_model(name, num_classes=5).state_dict(), "own.pt")
def loaded(what, **options):
    try: print(f"{what}: position embedding {list(timm.create_model(name, num_classes=5, img_size=96, **options).pos_embed.shape)}")
    except RuntimeError as error: print(f"{what}: RuntimeError", "size mismatch for pos_embed" if "size mismatch for pos_embed" in str(error) else error)
loaded("img_size=96, checkpoint_path", checkpoint_path="own.pt")
loaded("img_size=96, the same file as pretrained weights", pretrained=True, pretrained_cfg_overlay={"file": "own.pt", "num_classes": 5})
for what in name, "swin_tiny_patch4_window7_224":
    model = timm.create_model(what, img_size=112, num_classes=5)
    config = resolve_model_data_config(model)
    picture = create_transform(**config)(Image.new("RGB", (300, 200)))[None]
    try: answer = list(model(picture).shape)
    except AssertionError as error: answer = f"AssertionError: {error}"
    print(f"{what}, img_size=112: input_size {config['input_size']}, the model given a picture of its transform: {answer}")
E
observe python "$tmp/program.py"
verdict <<'E'
img_size=96, checkpoint_path: RuntimeError size mismatch for pos_embed
img_size=96, the same file as pretrained weights: position embedding [1, 37, 192]
vit_tiny_patch16_224, img_size=112: input_size (3, 224, 224), the model given a picture of its transform: AssertionError: Input height (224) doesn't match model (112).
swin_tiny_patch4_window7_224, img_size=112: input_size (3, 224, 224), the model given a picture of its transform: AssertionError: Input height (224) doesn't match model (112).
E
