#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: EMAModel(decay=0.9999), whose use_ema_warmup is False, averages with 0.9999 from its first step.
# Happens: the decay is capped at (1 + n) / (10 + n) all the same: 0.92 after 100 steps, 0.9911 after 1000. 0.9999 is reached after 89,990 steps. use_ema_warmup chooses
#   another curve, not whether there is one; only min_decay overrules it.
# Matters: most fine-tuning ends before: the decay that the configuration names is never in force, and a resumed or compared run with torch.optim.swa_utils differs.
# Source: diffusers/training_utils.py, EMAModel.get_decay.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import torch
from diffusers.training_utils import EMAModel
weight = torch.nn.Parameter(torch.zeros(1))
for options in {}, {"use_ema_warmup": True}, {"min_decay": 0.9999}:
    ema = EMAModel([weight], decay=0.9999, **options)
    print(options, "decay by step", {step: round(ema.get_decay(step), 4) for step in (2, 10, 100, 1000, 10000, 89991, 100000)})
E
observe python "$tmp/program.py"
verdict <<'E'
{} decay by step {2: 0.1818, 10: 0.5263, 100: 0.9174, 1000: 0.9911, 10000: 0.9991, 89991: 0.9999, 100000: 0.9999}
{'use_ema_warmup': True} decay by step {2: 0.37, 10: 0.7846, 100: 0.9536, 1000: 0.99, 10000: 0.9978, 89991: 0.9995, 100000: 0.9995}
{'min_decay': 0.9999} decay by step {2: 0.9999, 10: 0.9999, 100: 0.9999, 1000: 0.9999, 10000: 0.9999, 89991: 0.9999, 100000: 0.9999}
E
