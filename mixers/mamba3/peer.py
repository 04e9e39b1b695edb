"""Mamba-3 by its authors' quadratic reference, written for a whole batch: all tokens against all, as attention."""

import math

import torch
from torch import nn
from torch.nn import functional

NAME = "the authors' quadratic reference in Python"
NORM_EPS = 1e-5


def segment_sums(steps):
    """(..., T) -> (..., T, T): the sum of the steps after s up to t, minus infinity above the diagonal."""
    length = steps.size(-1)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    steps = steps[..., None].expand(*steps.shape, length).masked_fill(~causal.tril(-1), 0)
    return steps.cumsum(-2).masked_fill(~causal, -math.inf)


def turned(x, angles):
    """The first pairs (2i, 2i + 1) of x (B, T, H, N) by angles (B, T, H, A)."""
    turning, still = x.split([2 * angles.size(-1), x.size(-1) - 2 * angles.size(-1)], dim=-1)
    first, second = turning.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = angles.cos(), angles.sin()
    turning = torch.stack((first * cosine - second * sine, first * sine + second * cosine), dim=-1)
    return torch.cat((turning.flatten(-2), still), dim=-1)


class Mamba3(nn.Module):
    def __init__(self, width, fields):
        super().__init__()
        self.inner, self.state, self.groups = fields["expand"] * width, fields["state"], fields["groups"]
        self.head_width, self.heads = fields["head_width"], self.inner // fields["head_width"]
        self.angles = int(fields["rope_fraction"] * self.state) // 2
        self.heavy, self.floor = fields["a_activation"] == "heavy", fields["a_floor"]
        rows = 2 * self.inner + 2 * self.groups * self.state + 3 * self.heads + self.angles
        self.in_proj = nn.Linear(width, rows, bias=False)
        self.dt_bias = nn.Parameter(torch.full((self.heads,), -4.0))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.B_norm = nn.RMSNorm(self.state, eps=NORM_EPS)
        self.C_norm = nn.RMSNorm(self.state, eps=NORM_EPS)
        self.B_bias = nn.Parameter(torch.ones(self.heads, 1, self.state))
        self.C_bias = nn.Parameter(torch.ones(self.heads, 1, self.state))
        self.norm = nn.RMSNorm(self.head_width, eps=NORM_EPS, elementwise_affine=False)
        self.norm_weight = nn.Parameter(torch.ones(self.inner)) if fields["output_norm"] else None
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    def rates(self, raw):
        if not self.heavy:
            return functional.softplus(raw)
        return torch.where(raw >= 0, 1 + raw, 1 / (1 - raw.clamp(max=0)))

    def by_head(self, x, norm, bias):
        """(B, T, G N) -> (B, T, H, N)"""
        x = norm(x.unflatten(-1, (self.groups, self.state)))
        return x.repeat_interleave(self.heads // self.groups, dim=2) + bias[:, 0]

    def forward(self, x):
        group_rows = self.groups * self.state
        z, x, b, c, dt, decay, trapezoid, angle = self.in_proj(x).split(
            [self.inner, self.inner, group_rows, group_rows, self.heads, self.heads, self.heads, self.angles], dim=-1)
        z, x = (part.unflatten(-1, (self.heads, self.head_width)) for part in (z, x))
        dt = functional.softplus(dt + self.dt_bias)
        decay = -self.rates(decay).clamp(min=self.floor) * dt
        now = trapezoid.sigmoid() * dt
        late = functional.pad((dt - now)[:, 1:], (0, 0, 0, 1))  # what the next token adds of this one
        angles = ((math.pi * angle.tanh())[:, :, None] * dt[..., None]).cumsum(1).remainder(2 * math.pi)
        k, q = self.by_head(b, self.B_norm, self.B_bias), self.by_head(c, self.C_norm, self.C_bias)
        own = (q * k).sum(-1) * late  # no token reads what the next one adds
        q, k = turned(q, angles), turned(k, angles) * (now + late)[..., None]
        scores = torch.einsum("bthn,bshn->bhts", q, k) * segment_sums(decay.transpose(1, 2)).exp()
        y = torch.einsum("bhts,bshp->bthp", scores, x) + (self.D - own)[..., None] * x
        if self.norm_weight is not None:
            y = self.norm(y) * self.norm_weight.view(self.heads, self.head_width)
        return self.out_proj((y * functional.silu(z)).flatten(2))


def layer(width, fields):
    if fields["mimo_rank"]:
        raise ValueError("the peer in Python has no mimo_rank")
    return Mamba3(width, fields)
