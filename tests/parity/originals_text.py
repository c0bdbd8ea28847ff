"""What CLIP's tokenizer and text encoder of transformers compute, in whichever generation this Python has."""
import sys

sys.modules["ftfy"] = None  # the original of transformers 4 cleans text in another way where ftfy is installed
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def with_all_vectors(texts, tokenizer):
    """A pseudo-word that was learned as several vectors, T, T_1, ..., stands for all of them."""
    from diffusers.loaders import TextualInversionLoaderMixin
    return TextualInversionLoaderMixin().maybe_convert_prompt(texts, tokenizer)


def tokenize(folder, texts, add=(), cls="CLIPTokenizer", source=None, added_before=()):
    """The ids of each text alone, of all in the encoder's frame as the pipelines of diffusers write them, and of the pseudo-words that are added first. source: a folder that is read first, given
    added_before, used, and saved as `folder`."""
    def load(place, words):
        tokenizer = getattr(transformers, cls).from_pretrained(place)
        if words and tokenizer.add_tokens(list(words)) != len(words):
            raise ValueError(f"not all of {words} are new")
        return tokenizer, {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}

    if source:
        tokenizer, frame = load(source, added_before)
        tokenizer(["a cat"], **frame)
        tokenizer.save_pretrained(folder)
    tokenizer, frame = load(folder, add)
    return {"whole": tokenizer(texts, add_special_tokens=False)["input_ids"], "added": tokenizer.convert_tokens_to_ids(list(add)),
            "encoded": tokenizer(with_all_vectors(texts, tokenizer) if add or added_before else texts, **frame)["input_ids"]}


def make_text_encoder(folder, config, seed, ids, result, dtype="float32", **saving):
    """Saves a CLIPTextModel with random weights, all of them far from 0 and from each other; then as encode()."""
    torch.manual_seed(seed)
    model = CLIPTextModel(CLIPTextConfig(**config))
    for name, parameter in model.named_parameters():
        mean = 1.0 if "norm" in name and "weight" in name else 0.0
        parameter.data = torch.randn_like(parameter) * (0.1 if parameter.dim() == 1 else 0.3) + mean
    model.to(getattr(torch, dtype)).save_pretrained(folder, **saving)
    encode(folder, ids, result)


def encode(folder, ids, result, save=None):
    """The last hidden state, as "hidden" into the file `result`. save: the folder where the model is saved afterwards."""
    model = CLIPTextModel.from_pretrained(folder).eval()
    if save:
        model.save_pretrained(save)
    with torch.no_grad():
        save_file({"hidden": model.float()(torch.tensor(ids)).last_hidden_state}, result)
