#!/usr/bin/env bash
# datasets 5.2.0. Seen on 2026-11-30.
# Expected: class_encode_column on integer labels 0 to 11 makes them class labels with the same numbers.
# Happens: the numbers are written as text and sorted as text: "0", "1", "10", "11", "2". With 12 classes label 2 becomes 4 and label 10 becomes 2; with 10 or fewer nothing changes.
# Matters: train_test_split(stratify_by_column=...) asks for such a column. A classifier's head, a list of class names or a gallery labelled otherwise no longer fits, and nothing fails.
# Source: datasets/arrow_dataset.py, class_encode_column: sorted(str(sample) ...).
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datasets
datasets.disable_progress_bars()
for classes in 10, 12:
    data = datasets.Dataset.from_dict({"label": list(range(classes))})
    print(f"labels 0 to {classes - 1} become", data.class_encode_column("label")["label"][:])
    kept = data.cast_column("label", datasets.ClassLabel(num_classes=classes))
    print("  cast to ClassLabel(num_classes):", kept["label"][:])
E
observe python "$tmp/program.py"
verdict <<'E'
labels 0 to 9 become [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  cast to ClassLabel(num_classes): [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
labels 0 to 11 become [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]
  cast to ClassLabel(num_classes): [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
E
