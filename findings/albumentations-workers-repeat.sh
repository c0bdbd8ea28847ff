#!/usr/bin/env bash
# albumentations 2.0.8, torch 2.15.0. Seen on 2026-11-30.
# Expected: with a DataLoader of several workers each image gets its own random augmentation, another one in each epoch. torch seeds numpy and random anew in each worker for that.
# Happens: a Compose has random generators of its own, which each forked worker inherits as they are: the workers draw the same, and in each epoch the same again, with and without
#   `seed`. An image at one place of the order gets in epoch 2 what the image at this place got in epoch 1. persistent_workers or num_workers=0 hide a part of it. Global seeds and
#   torch's seed change nothing.
# Matters: of 100 epochs of random crops and colours the network sees one epoch's; with 8 workers an eighth of that. Nothing fails, the pictures look random, only the validation is worse.
# Source: github.com/albumentations-team/AlbumentationsX/issues/266 (mended in the successor, which has another licence); albumentations/core/composition.py, set_random_seed.
. "$(dirname "$0")/common.sh"
python_packages albumentations==2.0.8 opencv-python-headless==5.0.0.93 torch==2.15.0 numpy==2.4.6
export NO_ALBUMENTATIONS_UPDATE=1
cat > "$tmp/program.py" <<'E'
import albumentations, numpy, torch
class Images(torch.utils.data.Dataset):
    def __init__(self, seed): self.augment = albumentations.Compose([albumentations.Affine(translate_percent=(-0.3, 0.3), rotate=(-90, 90), p=1)], seed=seed)
    def __len__(self): return 32
    def __getitem__(self, index): return self.augment(image=picture)["image"].tobytes()
picture = numpy.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
for seed in None, 1:
    for workers, persistent in (0, False), (1, False), (4, False), (4, True):
        loader = torch.utils.data.DataLoader(Images(seed), batch_size=None, num_workers=workers, persistent_workers=persistent)
        epochs = [list(loader) for _ in range(3)]
        print(f"seed {seed}, {workers} workers{', persistent' * persistent}: different augmentations in an epoch of 32: {len(set(epochs[0]))}, in three epochs: {len(set(sum(epochs, [])))}")
E
observe python "$tmp/program.py"
verdict <<'E'
seed None, 0 workers: different augmentations in an epoch of 32: 32, in three epochs: 96
seed None, 1 workers: different augmentations in an epoch of 32: 32, in three epochs: 32
seed None, 4 workers: different augmentations in an epoch of 32: 8, in three epochs: 8
seed None, 4 workers, persistent: different augmentations in an epoch of 32: 8, in three epochs: 24
seed 1, 0 workers: different augmentations in an epoch of 32: 32, in three epochs: 96
seed 1, 1 workers: different augmentations in an epoch of 32: 32, in three epochs: 32
seed 1, 4 workers: different augmentations in an epoch of 32: 8, in three epochs: 8
seed 1, 4 workers, persistent: different augmentations in an epoch of 32: 8, in three epochs: 24
E
