#!/usr/bin/env bash
# datasets 5.2.0, pillow 13.0.0. Seen on 2026-11-30.
# Expected: load_dataset("imagefolder") of a folder with one folder per class gives one split with all classes; "train" and "test" folders at the top are its splits.
# Happens: a split's word anywhere in a path makes a split, and files without one are left out. A class "toy train" or "test-tube", or one file crash-test.png, is then the whole
#   data set, without labels. With proper splits, a class "train" puts its test images into both. Words count in lower case only: Train and Test make one split.
# Matters: classes vanish, or test images are trained on, by a class's name (train, a class of many data sets, is one); no error, and the count of images is the only sign.
# Source: datasets/data_files.py, KEYWORDS_IN_DIR_NAME_BASE_PATTERNS and KEYWORDS_IN_FILENAME_BASE_PATTERNS.
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datasets, os, tempfile
from PIL import Image
datasets.disable_progress_bars()
def load(*files):
    home = tempfile.mkdtemp()
    for file in files:
        path = os.path.join(home, file); os.makedirs(os.path.dirname(path), exist_ok=True); Image.new("RGB", (4, 4)).save(path)
    splits = datasets.load_dataset("imagefolder", data_dir=home, cache_dir=tempfile.mkdtemp())
    print(", ".join(files), "->", {name: (f"{len(split)} images", split.features["label"].names if "label" in split.features else "no labels") for name, split in splits.items()})
load("car/1.png", "car/2.png", "bus/1.png")
load("car/1.png", "car/2.png", "toy train/1.png")
load("car/1.png", "car/2.png", "test-tube/1.png")
load("car/1.png", "car/crash-test.png", "bus/1.png")
load("train/car/1.png", "train/train/1.png", "test/car/2.png", "test/train/2.png")
load("Train/car/1.png", "Train/bus/1.png", "Test/car/2.png")
E
observe python "$tmp/program.py"
verdict <<'E'
car/1.png, car/2.png, bus/1.png -> {'train': ('3 images', ['bus', 'car'])}
car/1.png, car/2.png, toy train/1.png -> {'train': ('1 images', 'no labels')}
car/1.png, car/2.png, test-tube/1.png -> {'test': ('1 images', 'no labels')}
car/1.png, car/crash-test.png, bus/1.png -> {'test': ('1 images', 'no labels')}
train/car/1.png, train/train/1.png, test/car/2.png, test/train/2.png -> {'train': ('3 images', ['car', 'train']), 'test': ('2 images', ['car', 'train'])}
Train/car/1.png, Train/bus/1.png, Test/car/2.png -> {'train': ('3 images', ['bus', 'car'])}
E
