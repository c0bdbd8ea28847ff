"""Learning rates and optimizer steps against PyTorch's own."""
import os
import subprocess
import tempfile
import warnings

import torch
from safetensors.torch import load_file, save_file

PROBE = os.path.join(os.environ["SYNCDR_BIN"], "parity_probe")
# Schedulers warn when they are stepped without an optimizer's step, which is what listing their rates means.
warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")


def probe(what, tensors, config):
    with tempfile.TemporaryDirectory() as folder:
        into, out = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        save_file(tensors, into)
        subprocess.run([PROBE, what, "--in", into, "--out", out, "--config", config], check=True)
        return load_file(out)


def rates_of(schedule, steps, rate, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    if schedule == "constant":
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    elif schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    elif schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    else:  # the rule of CUT: constant for the first half, then down; its epochs count from 1
        constant, falling = steps // 2, steps - steps // 2
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - max(0, step + 1 - constant) / float(falling + 1))
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        if step + 1 < steps:
            scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def check_schedules():
    for schedule in ("constant", "cosine", "one_cycle", "linear"):
        for steps in (3, 10, 57, 1000):
            # The rise must not end at step 0 exactly: PyTorch divides by zero there.
            for warmup in (0.0, 0.25, 0.3, 1.0) if schedule == "one_cycle" else (0.3,):
                config = f'schedule = "{schedule}"\nlearning_rate = 0.003\nwarmup = {warmup}'
                ours = probe("learning_rates", {"steps": torch.tensor(steps)}, config)["rate"]
                theirs = rates_of(schedule, steps, 0.003, warmup)
                # CosineAnnealingLR multiplies its rates up step by step: rounding grows with the steps.
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13, msg=lambda text: f"{schedule}, {steps} steps, warmup {warmup}: {text}")


def make_optimizer(name, weight):
    if name == "sgd":
        return torch.optim.SGD([weight], lr=0.01, momentum=0.9, weight_decay=0.05)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind([weight], lr=0.01, betas=(0.5, 0.99), weight_decay=0.05)


def check_steps():
    generator = torch.Generator().manual_seed(4)
    steps = 30
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        weight = torch.randn(7, 5, generator=generator, dtype=torch.float64).to(dtype)
        gradients = torch.randn(steps, 7, 5, generator=generator, dtype=torch.float64).to(dtype)
        for name in ("sgd", "adam", "adamw"):
            theirs = weight.clone().requires_grad_()
            optimizer = make_optimizer(name, theirs)
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps, cycle_momentum=False)
            for step in range(steps):
                theirs.grad = gradients[step].clone()
                optimizer.step()
                if step + 1 < steps:
                    scheduler.step()
            config = f'name = "{name}"\nlearning_rate = 0.01\nbetas = [0.5, 0.99]\nweight_decay = 0.05\nschedule = "one_cycle"'
            ours = probe("optimize", {"weight": weight, "gradients": gradients}, config)
            torch.testing.assert_close(ours["weight"], theirs.detach(), rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")
            state = optimizer.state_dict()["state"][0]
            expected = {"0." + key: value for key, value in state.items()}
            assert set(ours) == set(expected) | {"weight"}, (sorted(ours), sorted(expected))
            for key, value in expected.items():
                torch.testing.assert_close(ours[key].double(), value.double(), rtol=tolerance, atol=tolerance, msg=lambda text: f"{name} {key}: {text}")


check_schedules()
check_steps()
print("schedules and optimizers agree")
