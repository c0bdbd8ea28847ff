#!/usr/bin/env bash
# transformers 5.23.0 beside 4.57.1, a CLIP tokenizer. Seen on 2026-11-29.
# Expected: tokenizer.json says how text is normalised and split: whoever sets another normaliser or pre-tokenizer and saves the folder gets the same ids after loading.
# Happens: 4.57.1 does that. 5.23.0 writes both into tokenizer.json and ignores both when CLIPTokenizer or AutoTokenizer reads it: it takes the vocabulary, the merges and the added
#   tokens and builds CLIP's usual rules again. PreTrainedTokenizerFast and the library tokenizers obey the same file.
# Matters: an encoder that was trained with accents stripped or with another splitting gets ids that it has never seen, and nothing is said.
# Source: transformers/models/clip/tokenization_clip.py of 5.23.0, CLIPTokenizer.__init__.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import json, os, tempfile, transformers
from tokenizers import normalizers, pre_tokenizers
from transformers import CLIPTokenizerFast
os.chdir(tempfile.mkdtemp())
kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(i) for i in kept + list(range(256, 512 - len(kept)))]
names = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
os.mkdir("plain")
json.dump({name: i for i, name in enumerate(names)}, open("plain/vocab.json", "w"))
open("plain/merges.txt", "w").write("#version: 0.2\n")
json.dump({"tokenizer_class": "CLIPTokenizer"}, open("plain/tokenizer_config.json", "w"))
def show(what, tokenizer):
    answer = {text: " ".join(tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)[1:-1]).replace("</w>", "_") for text in ("Café", "1990")}
    print(f"{transformers.__version__} {what}: {answer}")
tokenizer = CLIPTokenizerFast.from_pretrained("plain")
show("usual rules", tokenizer)
tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
show("other rules, set", tokenizer)
tokenizer.save_pretrained("other")
for kind in "CLIPTokenizerFast", "AutoTokenizer", "PreTrainedTokenizerFast":
    show(f"other rules, saved and read by {kind}", getattr(transformers, kind).from_pretrained("other"))
E
for version in 4.57.1 5.23.0; do
  python_packages transformers==$version numpy==2.4.6
  observe python "$tmp/program.py"
done
verdict <<'E'
4.57.1 usual rules: {'Café': 'c a f Ã ©_', '1990': '1_ 9_ 9_ 0_'}
4.57.1 other rules, set: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
4.57.1 other rules, saved and read by CLIPTokenizerFast: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
4.57.1 other rules, saved and read by AutoTokenizer: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
4.57.1 other rules, saved and read by PreTrainedTokenizerFast: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
5.23.0 usual rules: {'Café': 'c a f Ã ©_', '1990': '1_ 9_ 9_ 0_'}
5.23.0 other rules, set: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
5.23.0 other rules, saved and read by CLIPTokenizerFast: {'Café': 'c a f Ã ©_', '1990': '1_ 9_ 9_ 0_'}
5.23.0 other rules, saved and read by AutoTokenizer: {'Café': 'c a f Ã ©_', '1990': '1_ 9_ 9_ 0_'}
5.23.0 other rules, saved and read by PreTrainedTokenizerFast: {'Café': 'c a f e_', '1990': '1 9 9 0_'}
E
