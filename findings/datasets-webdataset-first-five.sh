#!/usr/bin/env bash
# datasets 5.2.0, webdataset 1.0.2, pillow 13.0.0.
# Expected: load_dataset("webdataset") reads a shard as webdataset does, or says what does not fit.
# Happens: the columns are those of the first five samples. A member that only later ones have is dropped without a word, an image or a label that one lacks is None; a shard that was cut
#   between two members is a shorter one that ends with half a sample. Extensions keep their case (webdataset: lower case), so .PNG and .png are two columns.
# Matters: labels vanish or become None by the order of the samples and by a broken download; a training on such shards does not fail, it learns from less.
# Source: datasets/packaged_modules/webdataset/webdataset.py (NUM_EXAMPLES_FOR_FEATURES_INFERENCE).
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 webdataset==1.0.2 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import io, tarfile, datasets, webdataset
from PIL import Image
def png(i):
    content = io.BytesIO(); Image.new("RGB", (8, 8), (i, 0, 0)).save(content, "PNG"); return content.getvalue()
def shard(name, members):
    with tarfile.open(name, "w") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member); info.size = len(content); archive.addfile(info, io.BytesIO(content))
samples = [[(f"{i:04}.png", png(i)), (f"{i:04}.cls", b"%d" % i)] for i in range(8)]
flat = lambda groups: [member for group in groups for member in group]
shard("whole.tar", flat(samples))
shard("a late member.tar", flat(group + ([(f"{i:04}.json", b"{}")] if i > 5 else []) for i, group in enumerate(samples)))
shard("a missing label.tar", flat(samples)[:-1])
shard("a missing image.tar", flat(samples[:7] + [samples[7][1:]]))
shard("upper case.tar", [(name.replace("png", "PNG"), content) for name, content in flat(samples)])
with open("whole.tar", "rb") as whole, open("cut.tar", "wb") as cut: cut.write(whole.read(13 * 2 * 512))
for name in "whole", "a late member", "a missing label", "a missing image", "upper case", "cut":
    read = datasets.load_dataset("webdataset", data_files={"train": f"{name}.tar"}, split="train", cache_dir=f"cache {name}")
    last = {column: type(value).__name__ for column, value in read[-1].items() if column[0] != "_"}
    theirs = list(webdataset.WebDataset(f"{name}.tar", shardshuffle=False))
    print(f"{name}: {len(read)} rows, the last {last}; webdataset {len(theirs)}, {sorted(key for key in theirs[-1] if key[0] != '_')}")
E
cd "$tmp"
HF_HOME=$tmp/hf observe python "$tmp/program.py"
verdict <<'E'
whole: 8 rows, the last {'png': 'PngImageFile', 'cls': 'int'}; webdataset 8, ['cls', 'png']
a late member: 8 rows, the last {'png': 'PngImageFile', 'cls': 'int'}; webdataset 8, ['cls', 'json', 'png']
a missing label: 8 rows, the last {'png': 'PngImageFile', 'cls': 'NoneType'}; webdataset 8, ['png']
a missing image: 8 rows, the last {'png': 'NoneType', 'cls': 'int'}; webdataset 8, ['cls']
upper case: 8 rows, the last {'PNG': 'PngImageFile', 'cls': 'int'}; webdataset 8, ['cls', 'png']
cut: 7 rows, the last {'png': 'PngImageFile', 'cls': 'NoneType'}; webdataset 7, ['png']
E
