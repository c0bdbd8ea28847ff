#!/usr/bin/env bash
# transformers 5.23.0 beside 4.57.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: 4.57.1 loads a CLIPTextModel that 5.23.0 saved, or raises: config.json and the shapes are the same, and no weight fits by name if the layout is another.
# Happens: 5.23.0 saves one that was built from a configuration without the prefix "text_model." (4.57.1 writes it; 5.23.0 reads both). 4.57.1 finds none of its names, draws every
#   weight at random, logs that at WARNING and returns the model. One that 5.23.0 had read from a folder with the prefix is saved with it again, and loads.
# Matters: a pipeline trained anew with 5 and used with 4 has a text encoder of noise, another in each process: images come, unrelated to the prompt. Ask for
#   output_loading_info=True and refuse missing_keys.
# Source: transformers/modeling_utils.py of 4.57.1, PreTrainedModel._load_pretrained_model; modeling_clip.py of 5.23.0, where CLIPTextModel has no inner text_model any more.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
with_torch=PYTHONPATH=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')  # for both versions of transformers
cat > "$tmp/program.py" <<'E'
import os, sys, torch, transformers
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel
transformers.logging.set_verbosity_error()
def save(name, model): model.save_pretrained(name)
def new():
    model = CLIPTextModel(CLIPTextConfig(vocab_size=20, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, bos_token_id=18, eos_token_id=19))
    with torch.no_grad(): [parameter.normal_() for parameter in model.parameters()]
    return model
def load(name):
    plain = lambda values: {key.removeprefix("text_model."): value for key, value in values.items()}
    stored = load_file(f"{name}/model.safetensors")
    loaded = plain(CLIPTextModel.from_pretrained(name).state_dict())
    print(f"{transformers.__version__} loads {name} ({sorted(stored)[-1]}): {sum(torch.equal(loaded[key], value) for key, value in plain(stored).items())} of {len(stored)} weights are those of the file")
exec(sys.argv[1])
E
in_version() { python_packages transformers=="$1" numpy==2.4.6; cd "$tmp"; observe env "$with_torch" python program.py "$2"; }
in_version 4.57.1 'save("built-by-4", new())'
in_version 5.23.0 'save("built-by-5", new()); save("read-and-saved-by-5", CLIPTextModel.from_pretrained("built-by-4")); load("built-by-4"); load("built-by-5")'
in_version 4.57.1 'load("built-by-4"); load("read-and-saved-by-5"); load("built-by-5")'
verdict <<'E'
5.23.0 loads built-by-4 (text_model.final_layer_norm.weight): 20 of 20 weights are those of the file
5.23.0 loads built-by-5 (final_layer_norm.weight): 20 of 20 weights are those of the file
4.57.1 loads built-by-4 (text_model.final_layer_norm.weight): 20 of 20 weights are those of the file
4.57.1 loads read-and-saved-by-5 (text_model.final_layer_norm.weight): 20 of 20 weights are those of the file
4.57.1 loads built-by-5 (final_layer_norm.weight): 0 of 20 weights are those of the file
E
