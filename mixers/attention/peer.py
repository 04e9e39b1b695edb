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

    def turned(self, x):
        cosine, sine = self.tables
        return x * cosine + rotate_half(x) * sine

    def make_tables(self, length):
        if self.tables is not None and self.tables[0].size(0) == length:
            return
        exponents = torch.arange(0, self.head_width, 2) / self.head_width
        angles = torch.arange(length)[:, None] * self.theta ** -exponents
        angles = torch.cat((angles, angles), dim=-1)
        self.tables = angles.cos(), angles.sin()

    def forward(self, x):
        batch, length, _ = x.shape
        sizes = [self.heads * self.head_width] + 2 * [self.kv_heads * self.head_width]
        q, k, v = (part.view(batch, length, -1, self.head_width).transpose(1, 2)
                   for part in self.qkv(x).split(sizes, dim=-1))
        if self.theta is not None:
            self.make_tables(length)
            q, k = self.turned(q), self.turned(k)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        return self.out(y.transpose(1, 2).reshape(batch, length, -1))


def layer(width, fields):
    for name in ("window", "output_gate", "qk_norm"):
        if fields[name]:
            raise ValueError(f"the peer in Python has no {name}")
    if fields["rope_fraction"] != 1:
        raise ValueError("the peer in Python turns whole heads; leave rope_fraction at 1")
    return Attention(width, fields)
