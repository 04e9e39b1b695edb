"""Hugging Face's layer, by torch's own operations."""

import sys

sys.modules.update(dict.fromkeys(("fla", "causal_conv1d")))  # kernels for GPUs alone: as if not installed

import transformers
from transformers import DynamicCache, Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

transformers.logging.set_verbosity_error()  # or it names each kernel that is not there
NAME = f"transformers {transformers.__version__} Qwen3NextGatedDeltaNet"


def layer(width, fields):
    if fields["negative_eigenvalues"]:
        raise ValueError("the peer in Python has no negative_eigenvalues")
    config = Qwen3NextConfig(hidden_size=width, linear_num_key_heads=fields["heads"],
                             linear_num_value_heads=fields["value_heads"], linear_key_head_dim=fields["key_width"],
                             linear_value_head_dim=fields["value_width"], linear_conv_kernel_dim=fields["kernel"],
                             rms_norm_eps=fields["norm_eps"], num_hidden_layers=1, layer_types=["linear_attention"])
    mixer = Qwen3NextGatedDeltaNet(config, 0)
    mixer.config = config
    return mixer


def step(mixer, batch, context):
    memory = DynamicCache(config=mixer.config)
    return lambda token: mixer(token, cache_params=memory)
