#!/usr/bin/env bash
# diffusers 0.42.1, transformers 5.23.0, tokenizers 0.23.3.
# Expected: a pseudo-word that was learned as several vectors (textual inversion) stands for all of them in a prompt, however it is spelled: the pipelines write T as "T T_1 T_2" first.
# Happens: with capitals in its name only the first vector is used, and nothing is said. The tokenizer spells what it found in lower case, and the pipeline looks for that word.
# Matters: embeddings are often named after people and styles ("<MyStyle>"); the pictures are others than those that the embedding was shown with.
# Source: diffusers/loaders/textual_inversion.py, _maybe_convert_prompt: tokens of tokenizer.tokenize() are sought in added_tokens_encoder.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.23.0 tokenizers==0.23.3 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import json, os, sys
from transformers import CLIPTokenizer
from diffusers.loaders import TextualInversionLoaderMixin
folder = os.path.join(sys.argv[1], "tokenizer"); os.makedirs(folder)
letters = "abcdefghijklmnopqrstuvwxyz<>_"
tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
json.dump({token: i for i, token in enumerate(tokens)}, open(os.path.join(folder, "vocab.json"), "w"))
open(os.path.join(folder, "merges.txt"), "w").write("#version: 0.2\n")
tokenizer = CLIPTokenizer.from_pretrained(folder)
tokenizer.add_tokens(["<toy>", "<toy>_1", "<Style>", "<Style>_1"])  # as load_textual_inversion names two vectors
for prompt in "a <toy>", "a <Style>":
    print(f"{prompt!r}: tokens {tokenizer.tokenize(prompt)}, written as {TextualInversionLoaderMixin().maybe_convert_prompt(prompt, tokenizer)!r}")
E
observe python "$tmp/program.py" "$tmp"
verdict <<'E'
'a <toy>': tokens ['a</w>', '<toy>'], written as 'a <toy> <toy>_1'
'a <Style>': tokens ['a</w>', '<style>'], written as 'a <Style>'
E
