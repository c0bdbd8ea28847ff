"""A CLIP image tower with random weights, in the layout of transformers, for ELITE's mapper where no pretrained one is at hand.

    python tests/bench/untrained/random_image_encoder.py FOLDER [--seed 0]

With the Python beside LibTorch's wheel. 64 pixels, patches of 8, 6 layers of 128 values."""
import argparse

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
torch.manual_seed(options.seed)
config = CLIPVisionConfig(hidden_size=128, intermediate_size=256, num_hidden_layers=6, num_attention_heads=4, image_size=64, patch_size=8)
CLIPVisionModel(config).save_pretrained(options.folder)
