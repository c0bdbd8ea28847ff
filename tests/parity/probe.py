"""What the scripts share: calls of parity_probe, a folder, and comparisons of which those that fail are counted."""
import json
import os
import pathlib
import subprocess
import tempfile

from safetensors.torch import load_file, save_file

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
_folder = tempfile.TemporaryDirectory(prefix="syncdr-parity-")
FOLDER = pathlib.Path(_folder.name)
FAILURES = []


def save(tensors, file):
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)
    return file


def probe(what, tensors, model="", **config):
    """What `parity_probe WHAT` makes of tensors. model: a file or folder; config: the keys of its TOML."""
    source, result = save(tensors, FOLDER / "in.safetensors"), FOLDER / "out.safetensors"
    result.unlink(missing_ok=True)
    subprocess.run([BIN / "parity_probe", what, "--model", model, "--in", source, "--out", result,
                    "--config", "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in config.items())], check=True, timeout=300)
    return load_file(result)


def largest(ours, theirs):
    """The largest difference, relative to the largest value."""
    if ours.shape != theirs.shape:
        return float("inf")
    ours, theirs = ours.double(), theirs.double()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300))


def distance(ours, theirs):
    """Norm of the difference / norm."""
    return float((ours - theirs).norm() / theirs.norm()) if ours.shape == theirs.shape else float("inf")


def judge(what, error, tolerance):
    good = error <= tolerance
    print(f"{'ok  ' if good else 'FAIL'} {what}: relative error {error:.1e} (at most {tolerance:.0e})", flush=True)
    if not good:
        FAILURES.append(what)


def check(what, ours, theirs, tolerance, error_of=largest):
    judge(what, error_of(ours, theirs), tolerance)


def finish():
    """The end of a script."""
    if FAILURES:
        raise SystemExit(f"{len(FAILURES)} comparisons failed: " + ", ".join(FAILURES))


def random_statistics(model):
    """Of every batch normalisation: statistics, scales and offsets as no new network has them."""
    from torch.nn import BatchNorm2d

    for part in model.modules():
        if isinstance(part, BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
    return model
