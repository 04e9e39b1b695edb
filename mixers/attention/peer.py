"""Attention as one writes it in Python with torch: linear maps, rotary positions, and torch's own
scaled_dot_product_attention."""

import torch
from torch import nn
from torch.nn import functional


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class Attention(nn.Module):
    def __init__(self, width, fields):
        super().__init__()
        self.heads, self.kv_heads, self.head_width = fields["heads"], fields["kv_heads"], fields["head_width"]
        rows = (self.heads + 2 * self.kv_heads) * self.head_width
        self.qkv = nn.Linear(width, rows, bias=fields["bias"])
        self.out = nn.Linear(self.heads * self.head_width, width, bias=fields["output_bias"])
        self.theta = fields["rope_theta"]
        self.tables = None  # cosines and sines of the positions, made once

    def make_tables(self, positions):
        if self.theta is None:
            return None
        exponents = torch.arange(0, self.head_width, 2) / self.head_width
        angles = positions[:, None] * self.theta ** -exponents
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def heads_of(self, x, tables):
        """q, k and v (B, heads, T, P), turned by the tables of their positions."""
        batch, length, _ = x.shape
        sizes = [self.heads * self.head_width] + 2 * [self.kv_heads * self.head_width]
        q, k, v = (part.view(batch, length, -1, self.head_width).transpose(1, 2)
                   for part in self.qkv(x).split(sizes, dim=-1))
        if tables is not None:
            cosine, sine = tables
            q, k = (part * cosine + rotate_half(part) * sine for part in (q, k))
        return q, k, v

    def attend(self, q, k, v, causal):
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=self.heads != self.kv_heads)
        return self.out(y.transpose(1, 2).reshape(y.size(0), y.size(2), -1))

    def forward(self, x):
        if self.tables is None or self.tables[0].size(0) != x.size(1):
            self.tables = self.make_tables(torch.arange(x.size(1)))
        return self.attend(*self.heads_of(x, self.tables), causal=True)


def layer(width, fields):
    for name in ("window", "output_gate", "qk_norm"):
        if fields[name]:
            raise ValueError(f"the peer in Python has no {name}")
    if fields["rope_fraction"] != 1:
        raise ValueError("the peer in Python turns whole heads; leave rope_fraction at 1")
    return Attention(width, fields)


def step(layer, batch, context):
    keys, values = (torch.zeros(batch, layer.kv_heads, context + 1, layer.head_width) for _ in range(2))
    tables = layer.make_tables(torch.tensor([context]))

    def read(token):  # always the same position: what was there before is read again
        q, k, v = layer.heads_of(token, tables)
        keys[:, :, context:], values[:, :, context:] = k, v
        return layer.attend(q, keys, values, causal=False)

    return read
