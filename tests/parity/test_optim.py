"""Learning rates and optimizer steps against PyTorch's own."""
import warnings

import torch

from probe import probe

# Schedulers warn when they are stepped without an optimizer's step, which is what listing their rates means.
warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")


def rates_of(schedule, steps, rate, warmup=0.3, floor=0.0, warmup_steps=0):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    rising = warmup_steps and torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps)
    all_steps, steps = steps, steps - warmup_steps
    if schedule == "constant":
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    elif schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=floor * rate)
    elif schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    else:  # the rule of CUT: constant for the first half, then down; its epochs count from 1
        constant, falling = steps // 2, steps - steps // 2
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - max(0, step + 1 - constant) / float(falling + 1))
    if rising:
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, scheduler], milestones=[warmup_steps])
    rates = []
    for step in range(all_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        if step + 1 < all_steps:
            scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def check_schedules():
    for schedule in ("constant", "cosine", "one_cycle", "linear"):
        for steps in (3, 10, 57, 1000):
            # The rise must not end at step 0 exactly: PyTorch divides by zero there.
            for warmup in (0.0, 0.25, 0.3, 1.0) if schedule == "one_cycle" else (0.3,):
                ours = probe("learning_rates", {"steps": torch.tensor(steps)}, schedule=schedule, learning_rate=0.003, warmup=warmup)["rate"]
                theirs = rates_of(schedule, steps, 0.003, warmup)
                # CosineAnnealingLR multiplies its rates up step by step: rounding grows with the steps.
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13, msg=lambda text: f"{schedule}, {steps} steps, warmup {warmup}: {text}")


def check_warmup_and_floor():
    for schedule in ("constant", "cosine", "linear"):
        for steps, warmup_steps in ((10, 1), (57, 5), (1000, 999), (1000, 100)):
            for floor in (0.0, 0.1) if schedule == "cosine" else (0.0,):
                ours = probe("learning_rates", {"steps": torch.tensor(steps)}, schedule=schedule, learning_rate=0.003, warmup_steps=warmup_steps,
                             floor=floor)["rate"]
                theirs = rates_of(schedule, steps, 0.003, floor=floor, warmup_steps=warmup_steps)
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13, msg=lambda text: f"{schedule}, {steps} steps, {warmup_steps} rising: {text}")


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
            clip = 0 if name == "adam" else 5.5  # some of the gradients, all about 5.9 long, are shorter
            for step in range(steps):
                theirs.grad = gradients[step].clone()
                if clip:
                    torch.nn.utils.clip_grad_norm_([theirs], clip)
                optimizer.step()
                if step + 1 < steps:
                    scheduler.step()
            ours = probe("optimize", {"weight": weight, "gradients": gradients}, name=name, learning_rate=0.01, betas=[0.5, 0.99], weight_decay=0.05,
                         schedule="one_cycle", clip=clip)
            torch.testing.assert_close(ours["weight"], theirs.detach(), rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")
            state = optimizer.state_dict()["state"][0]
            expected = {"0." + key: value for key, value in state.items()}
            assert set(ours) == set(expected) | {"weight"}, (sorted(ours), sorted(expected))
            for key, value in expected.items():
                torch.testing.assert_close(ours[key].double(), value.double(), rtol=tolerance, atol=tolerance, msg=lambda text: f"{name} {key}: {text}")


def check_loss_scaling():
    """4,300 steps: the scale doubles after 2,000 good ones, and halves where a gradient is not finite."""
    generator = torch.Generator().manual_seed(5)
    steps = 4300
    weight, gradients = torch.randn(6, generator=generator), torch.randn(steps, 6, generator=generator)
    gradients[0, 1] = gradients[7, 2] = gradients[2100, 0] = torch.inf
    gradients[8, 3] = gradients[2101, 5] = torch.nan
    for clip in (0, 2.0):
        theirs = weight.clone().requires_grad_()
        optimizer, scaler, scales = torch.optim.SGD([theirs], lr=1e-3, momentum=0.9), torch.amp.GradScaler("cpu"), []
        for step in range(steps):
            optimizer.zero_grad()
            scaler.scale((theirs * gradients[step]).sum()).backward()
            scaler.unscale_(optimizer)
            if clip:
                torch.nn.utils.clip_grad_norm_([theirs], clip)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        ours = probe("scaled_steps", {"weight": weight, "gradients": gradients}, name="sgd", learning_rate=1e-3, weight_decay=0, clip=clip)
        scales = torch.tensor(scales, dtype=torch.float64)
        assert (scales.diff() > 0).sum() == 2 and (scales.diff() < 0).sum() == 4, "the scale is to move both ways"
        torch.testing.assert_close(ours["scale"], scales, rtol=0, atol=0)
        torch.testing.assert_close(ours["weight"], theirs.detach(), rtol=1e-5, atol=1e-6)
        assert ours["skipped"].item() == 5


check_schedules()
check_warmup_and_floor()
check_steps()
check_loss_scaling()
print("schedules, optimizers and loss scaling agree")
