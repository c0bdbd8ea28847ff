"""The networks of a diffusers pipeline, compiled by OpenVINO for one shape."""
import copy
import warnings

import openvino
import torch
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput


class Part(torch.nn.Module):
    """A function of a network, as convert_model wants it. Holding the network makes its weights the graph's."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *inputs):
        return self.function(self.network, *inputs)


def compiled(network, function, inputs, precision, threads):
    """precision "f32" or "bf16" -> a function of tensors of the inputs' shapes"""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of checks of shapes, which are fixed here
        model = openvino.convert_model(Part(network, function), example_input=inputs, input=[openvino.PartialShape(list(each.shape)) for each in inputs])
    request = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
                                                           "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()

    def call(*values):
        request.infer([value.numpy() for value in values], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return call


def with_openvino(pipeline, precision, threads, batch, side, tokens=77):
    """A pipeline like this one whose networks are compiled for `batch` images of side x side pixels under guidance (two branches)."""
    parts = {name: copy.deepcopy(part) if name in ("unet", "vae") else part for name, part in pipeline.components.items()}
    made = type(pipeline)(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    unet, vae = made.unet, made.vae
    latent = side // made.vae_scale_factor

    def make(network, function, *shapes):
        return compiled(network, function, tuple(torch.zeros(shape) for shape in shapes), precision, threads)

    noise = make(pipeline.unet, lambda network, x, time, text: network(x, time, text, return_dict=False)[0],
                 (2 * batch, 4, latent, latent), (), (2 * batch, tokens, unet.config.cross_attention_dim))
    moments = make(pipeline.vae, lambda network, x: network.encode(x).latent_dist.parameters, (batch, 3, side, side))
    pixels = make(pipeline.vae, lambda network, x: network.decode(x, return_dict=False)[0], (batch, 4, latent, latent))
    unet.forward = lambda x, time, encoder_hidden_states, **_: (noise(x, time.float(), encoder_hidden_states),)
    vae.encode = lambda x, **_: AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments(x)))
    vae.decode = lambda x, return_dict=True, **_: DecoderOutput(sample=pixels(x)) if return_dict else (pixels(x),)
    return made
