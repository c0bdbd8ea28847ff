#!/usr/bin/env bash
# transformers 5.23.0 beside 4.57.1, with and without ftfy 6.3.1: a CLIP tokenizer's folder of vocab.json and merges.txt. Seen on 2026-11-29.
# Expected: CLIPTokenizer gives the same ids for the same folder in both, as the folder is the vocabulary that the text encoder was trained with.
# Happens: in 4.57.1 CLIPTokenizer is a Python class, whose ids depend on whether ftfy is installed besides; in 5.23.0 it is the library tokenizers, with the rules of 4.57.1's
#   CLIPTokenizerFast. The three differ: each ideograph a word or all one word, U+200D kept or dropped, a final sigma or none.
# Matters: the environment, not the checkpoint, decides what a prompt in Chinese, in Greek capitals or with a joined emoji means; a rerun after an upgrade translates other images.
# Source: transformers/models/clip/tokenization_clip.py of both versions; 4.57.1: CLIPTokenizer._tokenize and BasicTokenizer.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import json, os, sys, tempfile, transformers
transformers.logging.set_verbosity_error()
os.chdir(tempfile.mkdtemp())
kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(i) for i in kept + list(range(256, 512 - len(kept)))]
names = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
json.dump({name: i for i, name in enumerate(names)}, open("vocab.json", "w"))
open("merges.txt", "w").write("#version: 0.2\n")
json.dump({"tokenizer_class": "CLIPTokenizer"}, open("tokenizer_config.json", "w"))
for kind in [transformers.CLIPTokenizer] + [transformers.CLIPTokenizerFast] * sys.argv[1].startswith("4"):
    tokenizer = kind.from_pretrained(".")
    print(f"{sys.argv[1]} {kind.__name__}:", *(f"{ascii(text)} {tokenizer(text).input_ids[1:-1]}" for text in ("漢字", "a\u200db", "ΑΣ")))
E
for packages in "transformers==4.57.1" "transformers==4.57.1 ftfy==6.3.1" "transformers==5.23.0"; do
  python_packages $packages numpy==2.4.6
  observe python "$tmp/program.py" "${packages//transformers==}"
done
verdict <<'E'
4.57.1 CLIPTokenizer: '\u6f22\u5b57' [162, 120, 351, 161, 255, 501] 'a\u200db' [64, 321] '\u0391\u03a3' [138, 109, 139, 480]
4.57.1 CLIPTokenizerFast: '\u6f22\u5b57' [162, 120, 95, 161, 255, 501] 'a\u200db' [320, 158, 222, 491, 321] '\u0391\u03a3' [138, 109, 139, 481]
4.57.1 ftfy==6.3.1 CLIPTokenizer: '\u6f22\u5b57' [162, 120, 95, 161, 255, 501] 'a\u200db' [320, 158, 222, 491, 321] '\u0391\u03a3' [138, 109, 139, 480]
4.57.1 ftfy==6.3.1 CLIPTokenizerFast: '\u6f22\u5b57' [162, 120, 95, 161, 255, 501] 'a\u200db' [320, 158, 222, 491, 321] '\u0391\u03a3' [138, 109, 139, 481]
5.23.0 CLIPTokenizer: '\u6f22\u5b57' [162, 120, 95, 161, 255, 501] 'a\u200db' [320, 158, 222, 491, 321] '\u0391\u03a3' [138, 109, 139, 481]
E
