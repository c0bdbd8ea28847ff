#!/usr/bin/env bash
# peft 0.21.2, torch 2.15.0. Seen on 2026-11-30.
# Expected: add_weighted_adapter with one adapter at weight 1 makes a copy that does the same; with "cat" and "svd", which are exact, the weighted sum of two.
# Happens: for adapters with use_rslora the result is sqrt(its rank) times too strong: 4 times for rank 16, 6 times for the sum of two of rank 16. The new adapter is made to have scale 1 by
#   alpha = rank, but inherits use_rslora, which makes that sqrt(rank). With use_dora its learned magnitudes are lost: it gets those of a fresh adapter.
# Matters: mixing two adapters, or one at half strength, gives a broken model or another one than was trained, without a warning; plain LoRA is right.
# Source: peft/tuners/lora/model.py, add_weighted_adapter; github.com/huggingface/peft/pull/3449, which is not in this version.
. "$(dirname "$0")/common.sh"
python_packages peft==0.21.2 transformers==5.23.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from peft import LoraConfig, get_peft_model
def adapted(**options):
    torch.manual_seed(0)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(64, 64)), LoraConfig(lora_alpha=16, target_modules=["0"], **options), adapter_name="one")
    model.add_adapter("two", LoraConfig(lora_alpha=16, target_modules=["0"], **options))
    for name, parameter in model.named_parameters():
        if "lora_" in name: parameter.data += 0.1 * torch.randn_like(parameter)
    return model, model.base_model.model[0]
for options in {}, {"use_rslora": True}:
    for rank in 4, 16, 32:
        model, layer = adapted(r=rank, **options)
        half = (layer.get_delta_weight("one") + layer.get_delta_weight("two")) / 2
        model.add_weighted_adapter(["one"], [1.0], "copy", combination_type="linear")
        model.add_weighted_adapter(["one", "two"], [0.5, 0.5], "cat", combination_type="cat")
        model.add_weighted_adapter(["one", "two"], [0.5, 0.5], "svd", combination_type="svd", svd_rank=2 * rank)
        strength = lambda name, of: round((layer.get_delta_weight(name).norm() / of.norm()).item(), 2)
        print(options, f"rank {rank}: copy {strength('copy', layer.get_delta_weight('one'))} times, cat {strength('cat', half)}, svd {strength('svd', half)}")
for options in {}, {"use_dora": True}:
    model, layer = adapted(r=4, **options)
    model.add_weighted_adapter(["one"], [1.0], "copy", combination_type="linear")
    data, answers = torch.randn(5, 64), {}
    for name in "one", "copy": model.base_model.set_adapter(name); answers[name] = model(data)
    with model.disable_adapter(): plain = model(data)
    print(options, f"the copy's answers differ by {((answers['copy'] - answers['one']).norm() / (answers['one'] - plain).norm()).item():.1f} of what the adapter does")
E
observe python "$tmp/program.py"
verdict <<'E'
{} rank 4: copy 1.0 times, cat 1.0, svd 1.0
{} rank 16: copy 1.0 times, cat 1.0, svd 1.0
{} rank 32: copy 1.0 times, cat 1.0, svd 1.0
{'use_rslora': True} rank 4: copy 2.0 times, cat 2.83, svd 2.83
{'use_rslora': True} rank 16: copy 4.0 times, cat 5.66, svd 5.66
{'use_rslora': True} rank 32: copy 5.66 times, cat 8.0, svd 8.0
{} the copy's answers differ by 0.0 of what the adapter does
{'use_dora': True} the copy's answers differ by 0.2 of what the adapter does
E
