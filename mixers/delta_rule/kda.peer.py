"""Hugging Face's layer, by torch's own operations."""

import sys

sys.modules.update(dict.fromkeys(("fla", "causal_conv1d")))  # kernels for GPUs alone: as if not installed

import transformers
from torch import nn
from transformers import DynamicCache, KimiLinearConfig
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention

transformers.logging.set_verbosity_error()  # or it names each kernel that is not there
NAME = f"transformers {transformers.__version__} KimiLinearDeltaAttention"


def layer(width, fields):
    if fields["gate_floor"] is not None:
        raise ValueError("the peer in Python has no gate_floor")
    if fields["negative_eigenvalues"]:
        raise ValueError("the peer in Python has no negative_eigenvalues")
    if fields["value_heads"] != fields["heads"] or fields["value_width"] != fields["key_width"]:
        raise ValueError("the peer in Python has as many heads of values as of keys, and of the same width; leave "
                         "value_heads and value_width out")
    heads, head_width = fields["heads"], fields["key_width"]
    config = KimiLinearConfig(hidden_size=width, linear_num_heads=heads, linear_head_dim=head_width,
                              linear_conv_kernel_dim=fields["kernel"], rms_norm_eps=fields["norm_eps"],
                              num_hidden_layers=1, layer_types=["linear_attention"])
    mixer = KimiLinearDeltaAttention(config, 0)
    mixer.config = config
    if fields["gate_bias"]:  # the authors' layer has one, this one has not
        mixer.g_b_proj = nn.Linear(head_width, heads * head_width)
    nn.init.constant_(mixer.forget_gate.A_log, 1)  # both come without values
    nn.init.constant_(mixer.forget_gate.dt_bias, -4)
    return mixer


def step(mixer, batch, context):
    memory = DynamicCache(config=mixer.config)
    return lambda token: mixer(token, cache_params=memory)
