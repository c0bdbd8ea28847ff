"""Stable Diffusion's files as their authors' code names and shapes the tensors (latent-diffusion, OpenAI's CLIP in transformers, OpenCLIP), of any size, with
random values."""
import torch


class Shapes(dict):
    def add(self, name, *shape):
        self[name] = shape

    def conv(self, name, out, into, side=3):
        self.add(name + ".weight", out, into, side, side)
        self.add(name + ".bias", out)

    def linear(self, name, out, into, bias=True):
        self.add(name + ".weight", out, into)
        if bias:
            self.add(name + ".bias", out)

    def norm(self, name, width):
        self.add(name + ".weight", width)
        self.add(name + ".bias", width)

    def under(self, prefix):
        return {prefix + name: shape for name, shape in self.items()}


def unet(width, factors, attends, layers, text, linear=False, channels_in=4, depth=1):
    shapes, time, last = Shapes(), 4 * width, len(factors) - 1

    def resnet(name, into, out):
        shapes.norm(name + ".in_layers.0", into)
        shapes.conv(name + ".in_layers.2", out, into)
        shapes.linear(name + ".emb_layers.1", out, time)
        shapes.norm(name + ".out_layers.0", out)
        shapes.conv(name + ".out_layers.3", out, out)
        if into != out:
            shapes.conv(name + ".skip_connection", out, into, 1)
        return out

    def transformer(name, c):
        project = (lambda part: shapes.linear(name + part, c, c)) if linear else (lambda part: shapes.conv(name + part, c, c, 1))
        shapes.norm(name + ".norm", c)
        project(".proj_in")
        for block in (f"{name}.transformer_blocks.{k}" for k in range(depth)):
            for attention, into in (("attn1", c), ("attn2", text)):
                shapes.linear(f"{block}.{attention}.to_q", c, c, bias=False)
                shapes.linear(f"{block}.{attention}.to_k", c, into, bias=False)
                shapes.linear(f"{block}.{attention}.to_v", c, into, bias=False)
                shapes.linear(f"{block}.{attention}.to_out.0", c, c)
            shapes.linear(block + ".ff.net.0.proj", 8 * c, c)
            shapes.linear(block + ".ff.net.2", c, 4 * c)
            for k in (1, 2, 3):
                shapes.norm(f"{block}.norm{k}", c)
        project(".proj_out")

    shapes.linear("time_embed.0", time, width)
    shapes.linear("time_embed.2", time, time)
    shapes.conv("input_blocks.0.0", width, channels_in)
    skips, block, c = [width], 1, width
    for level, factor in enumerate(factors):
        for _ in range(layers):
            c = resnet(f"input_blocks.{block}.0", c, width * factor)
            if attends[level]:
                transformer(f"input_blocks.{block}.1", c)
            skips.append(c)
            block += 1
        if level < last:
            shapes.conv(f"input_blocks.{block}.0.op", c, c)
            skips.append(c)
            block += 1
    resnet("middle_block.0", c, c)
    transformer("middle_block.1", c)
    resnet("middle_block.2", c, c)
    block = 0
    for level in range(last, -1, -1):
        for k in range(layers + 1):
            c = resnet(f"output_blocks.{block}.0", c + skips.pop(), width * factors[level])
            if attends[level]:
                transformer(f"output_blocks.{block}.1", c)
            if level > 0 and k == layers:
                shapes.conv(f"output_blocks.{block}.{2 if attends[level] else 1}.conv", c, c)
            block += 1
    shapes.norm("out.0", c)
    shapes.conv("out.2", 4, c)
    return shapes


def autoencoder(width, factors, layers, latent=4, linear=False):
    shapes, last = Shapes(), len(factors) - 1

    def resnet(name, into, out):
        shapes.norm(name + ".norm1", into)
        shapes.conv(name + ".conv1", out, into)
        shapes.norm(name + ".norm2", out)
        shapes.conv(name + ".conv2", out, out)
        if into != out:
            shapes.conv(name + ".nin_shortcut", out, into, 1)
        return out

    def middle(name, c):
        resnet(name + ".block_1", c, c)
        shapes.norm(name + ".attn_1.norm", c)
        for part in ("q", "k", "v", "proj_out"):
            shapes.linear(f"{name}.attn_1.{part}", c, c) if linear else shapes.conv(f"{name}.attn_1.{part}", c, c, 1)
        resnet(name + ".block_2", c, c)

    c = width
    shapes.conv("encoder.conv_in", c, 3)
    for level, factor in enumerate(factors):
        for k in range(layers):
            c = resnet(f"encoder.down.{level}.block.{k}", c, width * factor)
        if level < last:
            shapes.conv(f"encoder.down.{level}.downsample.conv", c, c)
    middle("encoder.mid", c)
    shapes.norm("encoder.norm_out", c)
    shapes.conv("encoder.conv_out", 2 * latent, c)
    shapes.conv("decoder.conv_in", c, latent)
    middle("decoder.mid", c)
    for level in range(last, -1, -1):
        for k in range(layers + 1):
            c = resnet(f"decoder.up.{level}.block.{k}", c, width * factors[level])
        if level > 0:
            shapes.conv(f"decoder.up.{level}.upsample.conv", c, c)
    shapes.norm("decoder.norm_out", c)
    shapes.conv("decoder.conv_out", 3, c)
    shapes.conv("quant_conv", 2 * latent, 2 * latent, 1)
    shapes.conv("post_quant_conv", latent, latent, 1)
    return shapes


def openai_text(width, hidden, layers, vocabulary, positions):
    shapes = Shapes()
    shapes.add("embeddings.token_embedding.weight", vocabulary, width)
    shapes.add("embeddings.position_embedding.weight", positions, width)
    for layer in (f"encoder.layers.{k}" for k in range(layers)):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes.linear(f"{layer}.self_attn.{part}", width, width)
        shapes.linear(layer + ".mlp.fc1", hidden, width)
        shapes.linear(layer + ".mlp.fc2", width, hidden)
        shapes.norm(layer + ".layer_norm1", width)
        shapes.norm(layer + ".layer_norm2", width)
    shapes.norm("final_layer_norm", width)
    return shapes


def open_clip_text(width, hidden, layers, vocabulary, positions):
    shapes = Shapes()
    shapes.add("positional_embedding", positions, width)
    shapes.add("text_projection", width, width)
    shapes.add("logit_scale")
    shapes.add("token_embedding.weight", vocabulary, width)
    for layer in (f"transformer.resblocks.{k}" for k in range(layers)):
        shapes.norm(layer + ".ln_1", width)
        shapes.add(layer + ".attn.in_proj_weight", 3 * width, width)
        shapes.add(layer + ".attn.in_proj_bias", 3 * width)
        shapes.linear(layer + ".attn.out_proj", width, width)
        shapes.norm(layer + ".ln_2", width)
        shapes.linear(layer + ".mlp.c_fc", hidden, width)
        shapes.linear(layer + ".mlp.c_proj", width, hidden)
    shapes.norm("ln_final", width)
    return shapes


def filled(shapes):
    """Values of the size that networks begin with; those of one dimension, most of which scale a norm, around 1."""
    return {name: (1 + 0.1 * torch.randn(shape)) if len(shape) < 2 else torch.randn(shape) / torch.tensor(shape[1:]).prod().sqrt()
            for name, shape in shapes.items()}


def averaged(tensors):
    """A moving average of the UNet, as latent-diffusion's LitEma names it, and its two counters."""
    prefix = "model.diffusion_model."
    average = {"model_ema.diffusion_model" + name.removeprefix(prefix).replace(".", ""): tensor + 0.1 * torch.randn_like(tensor)
               for name, tensor in tensors.items() if name.startswith(prefix)}
    return {**average, "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7, dtype=torch.int32)}


def schedule(start=0.00085, end=0.012):
    """The buffers of latent-diffusion, some of them."""
    betas = torch.linspace(start ** 0.5, end ** 0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    named = {"betas": betas, "alphas_cumprod": alphas, "sqrt_one_minus_alphas_cumprod": (1 - alphas).sqrt(), "posterior_mean_coef1": betas, "logvar": betas * 0}
    return {name: values.float() for name, values in named.items()}
