#pragma once

#include "framework/src/import/pieces.h"

namespace echo {

// What each class calls the fields of a Mamba-2 layer.
struct Mamba2Fields {
  const char* heads;
  const char* head_width;  // may be "auto"
  const char* state;
  const char* groups;
  const char* kernel;
  const char* expand;
  const char* bias;
  const char* conv_bias;
  const char* inner = nullptr;  // where the inner width is a field of its own; null: by `expand`
  int64_t default_inner = 0;
  int64_t default_groups = 1;
  int64_t default_state = 256;
};

// As Granite hybrid, Bamba and Falcon-H1 call them.
constexpr Mamba2Fields kMambaHybridFields{.heads = "mamba_n_heads",
                                          .head_width = "mamba_d_head",
                                          .state = "mamba_d_state",
                                          .groups = "mamba_n_groups",
                                          .kernel = "mamba_d_conv",
                                          .expand = "mamba_expand",
                                          .bias = "mamba_proj_bias",
                                          .conv_bias = "mamba_conv_bias"};

// Those fields and time_step_limit as a `mamba2` mixer.
Json read_mamba2_mixer(Config& config, const Mamba2Fields& fields, int64_t width, double eps);

// Inner channels of a mixer that read_mamba2_mixer() gave.
int64_t mamba2_inner_width(const Json& mixer, int64_t width);

void link_mamba2(Blueprint& blueprint, const Json& mixer, const std::string& stored,
                 const std::string& parameters);

// The inverse of read_mamba2_mixer(); time_step_limit as transformers 5 writes it.
void write_mamba2_mixer(Json& config, const Mamba2Fields& fields, const Json& mixer, int64_t width);

}  // namespace echo
