"""A CLIP of transformers in whichever generation this Python has: its folder as it is saved, with a tokenizer, and the features of texts and pictures."""
import sys

sys.modules["ftfy"] = None  # the tokenizer of transformers 4 cleans text in another way where ftfy is installed
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import originals_vit  # noqa: E402


def clip(vocabulary, texts, folder, file, activation, heads):
    """vocabulary: folder of vocab.json and merges.txt. Saves the model into `folder`, and into `file` the features of the texts."""
    torch.manual_seed(11)
    torch.set_num_threads(1)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(vocabulary, model_max_length=20)
    text = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": heads, "num_hidden_layers": 2, "max_position_embeddings": 20,
            "hidden_act": activation, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1, "num_hidden_layers": 1, "image_size": 32, "patch_size": 32}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    originals_vit.randomise(model)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    batch = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        features = model.get_text_features(**batch)
    features = getattr(features, "pooler_output", features)  # transformers 5 gives an object
    save_file({"features": torch.nn.functional.normalize(features, dim=-1).contiguous()}, file)
