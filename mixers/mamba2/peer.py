"""Hugging Face's layer, by torch's own operations."""

import math
import sys

sys.modules.update(dict.fromkeys(("mamba_ssm", "causal_conv1d")))  # kernels for GPUs alone: as if not installed

import transformers
from transformers import DynamicCache, Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

transformers.logging.set_verbosity_error()  # or it names each kernel that is not there
NAME = f"transformers {transformers.__version__} Mamba2Mixer, chunk {Mamba2Config.chunk_size}"


def layer(width, fields):
    least, most = fields["dt_limit"]
    inner = round(fields["expand"] * width)
    if not fields["norm"] or inner % width:
        raise ValueError("the peer in Python has a norm always, and an inner width that is a multiple of the width")
    config = Mamba2Config(hidden_size=width, expand=inner // width, head_dim=fields["head_width"],
                          num_heads=inner // fields["head_width"], state_size=fields["state"],
                          n_groups=fields["groups"], conv_kernel=fields["kernel"], use_bias=fields["bias"],
                          use_conv_bias=fields["conv_bias"], layer_norm_epsilon=fields["norm_eps"],
                          time_step_limit=(least or 0.0, math.inf if most is None else most), num_hidden_layers=1)
    mixer = Mamba2Mixer(config, 0)
    mixer.config = config
    return mixer


def step(mixer, batch, context):
    if mixer.time_step_limit != (0.0, math.inf):
        return None  # its step leaves the limits out
    memory = DynamicCache(config=mixer.config)
    return lambda token: mixer(token, cache_params=memory)
