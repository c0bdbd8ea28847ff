#!/usr/bin/env bash
# timm 1.0.31, torchvision 0.29.2. Seen on 2026-11-30.
# Expected: the class numbers of one folder of class folders are the same in timm and torchvision, which both number the sorted names.
# Happens: timm sorts without regard to case and takes digits as numbers; torchvision sorts as text, capitals first. class_2 is 1 in timm and 2 in torchvision, where class_10 comes first;
#   a single capitalised name moves all others.
# Matters: a classifier trained by timm's train.py and evaluated over ImageFolder, or features labelled by one and searched with the other, score near chance. Nothing fails: the
#   number of classes is equal, and for lower-case names without numbers so is the order.
# Source: timm/data/readers/reader_image_folder.py (natural_key), torchvision/datasets/folder.py (sorted).
. "$(dirname "$0")/common.sh"
python_packages timm==1.0.31 torchvision==0.29.2 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import os, tempfile
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder
for names in ["apple", "bus", "car"], ["class_1", "class_2", "class_10"], ["alarm_clock", "TV", "bed"]:
    home = tempfile.mkdtemp()
    for name in names: os.makedirs(f"{home}/{name}"); Image.new("RGB", (4, 4)).save(f"{home}/{name}/a.png")
    print("timm:", create_dataset("", home).reader.class_to_idx, "torchvision:", ImageFolder(home).class_to_idx)
E
observe python "$tmp/program.py"
verdict <<'E'
timm: {'apple': 0, 'bus': 1, 'car': 2} torchvision: {'apple': 0, 'bus': 1, 'car': 2}
timm: {'class_1': 0, 'class_2': 1, 'class_10': 2} torchvision: {'class_1': 0, 'class_10': 1, 'class_2': 2}
timm: {'alarm_clock': 0, 'bed': 1, 'TV': 2} torchvision: {'TV': 0, 'alarm_clock': 1, 'bed': 2}
E
