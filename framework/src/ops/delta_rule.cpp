#include "framework/src/ops/borders.h"
#include "framework/src/ops/chunks.h"
#include "framework/src/ops/delta_chunks.h"
#include "framework/src/ops/delta_step.h"
#include "framework/src/ops/kernel.h"

#include <echo/ops.h>
#include <echo/stretch.h>

#include <algorithm>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

using at::Tensor;
using ops::DeltaInputs;
using ops::DeltaOutputs;
using ops::given;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Up to so many tokens are read one by one where gradients are off.
constexpr int64_t kSteps = 4;

Tensor memory_after(const DeltaInputs& inputs, const DeltaOutputs& outputs) {
  return outputs.before.select(0, outputs.before.size(0) - 1)
      .unflatten(0, {inputs.v.size(0), inputs.v.size(2)})
      .clone();
}

class DeltaFunction : public torch::autograd::Function<DeltaFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& k,
                               const Tensor& v, const std::optional<Tensor>& g,
                               const std::optional<Tensor>& beta,
                               const std::optional<Tensor>& memory,
                               const std::optional<Tensor>& starts) {
    const auto maybe = [](const std::optional<Tensor>& tensor) {
      return tensor.value_or(Tensor());
    };
    const DeltaInputs inputs{q, k, v, maybe(g), maybe(beta), maybe(memory), maybe(starts)};
    const DeltaOutputs outputs = ops::delta_forward(inputs);
    context->save_for_backward(
        {q, k, v, inputs.g, inputs.beta, inputs.starts, outputs.o, outputs.before});
    context->saved_data["memory"] = memory.has_value();
    context->set_materialize_grads(false);
    return {outputs.o, memory_after(inputs, outputs)};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ops::refuse_second_derivative("the delta rule");
    const variable_list saved = context->get_saved_variables();
    const DeltaInputs inputs{saved[0], saved[1], saved[2], saved[3], saved[4], {}, saved[5]};
    const Tensor d_o = gradients[0].defined() ? gradients[0] : at::zeros_like(saved[6]);
    const DeltaInputs back = ops::delta_backward(inputs, {saved[6], saved[7]}, d_o, gradients[1]);
    const bool given = context->saved_data["memory"].toBool();
    return {back.q, back.k, back.v, back.g, back.beta, given ? back.memory : Tensor(), Tensor()};
  }
};

// The tokens [first, first + count) of a stretch, from that memory.
DeltaInputs piece_of(const DeltaInputs& in, int64_t first, int64_t count, const Tensor& memory) {
  const auto cut = [&](const Tensor& x) {
    return x.defined() && count < x.size(1) ? x.narrow(1, first, count) : x;
  };
  return {cut(in.q), cut(in.k), cut(in.v), cut(in.g), cut(in.beta), memory, cut(in.starts)};
}

// No token of the stretch is padding that would change the memory.
Attended attend_pieces(const DeltaInputs& in) {
  const bool graph = ops::needs_graph(in.q, in.k, in.v, in.g, in.beta, in.memory);
  const int64_t length = in.q.size(1);
  const int64_t piece =
      std::max<int64_t>(1, ops::kChunksAtOnce / in.q.size(0)) * ops::delta_chunk(length);
  std::vector<Tensor> outputs;
  Tensor now = in.memory;
  for (int64_t first = 0; first < length; first += piece) {
    const DeltaInputs part = piece_of(in, first, std::min(piece, length - first), now);
    if (graph) {
      const variable_list results =
          DeltaFunction::apply(part.q, part.k, part.v, given(part.g), given(part.beta),
                               given(part.memory), given(part.starts));
      outputs.push_back(results[0]);
      now = results[1];
    } else {
      const DeltaOutputs result = ops::delta_forward(part);
      outputs.push_back(result.o);
      now = memory_after(part, result);
    }
  }
  return {outputs.size() == 1 ? outputs[0] : at::cat(outputs, 1), now};
}

// Padding changes no memory then; sets the starts that count.
void clear_padding(DeltaInputs& in, const Span& span) {
  in.starts = span.starts;
  if (!span.lengths.defined()) return;
  const Tensor pad = padding(span.lengths, in.q.size(1));
  const auto clear = [&](Tensor& x) {
    if (x.defined()) x = ops::cleared(x, pad);
  };
  clear(in.k);
  clear(in.v);
  clear(in.g);
  clear(in.beta);
  if (in.starts.defined()) in.starts = in.starts.logical_and(pad.logical_not());
}

// A stretch that is whole, or a part that knows what came before it.
Attended attend(DeltaInputs in, const Span& span) {
  const bool memory = in.memory.defined();
  const int64_t length = in.q.size(1);
  const bool kernel = in.v.scalar_type() == at::kFloat || in.v.scalar_type() == at::kDouble;
  if (memory && kernel && length <= kSteps && in.v.is_cpu() && !c10::GradMode::is_enabled()) {
    const Tensor kept = writable(in.memory);
    return {ops::recur_in_place(in.q, in.k, in.v, in.g, in.beta, kept, span), kept};
  }
  clear_padding(in, span);
  Attended attended = attend_pieces(in);
  if (!memory) attended.memory = Tensor();
  return attended;
}

// (B, T, G, W) -> (B, T, H, W): head h has what group h / (H / G) has.
Tensor repeated(const Tensor& x, int64_t heads) {
  if (x.size(2) == heads) return x;
  return x.unsqueeze(3)
      .expand({x.size(0), x.size(1), x.size(2), heads / x.size(2), x.size(3)})
      .flatten(2, 3);
}

// A part of a sequence under the delta rule, whose transition is a matrix: behind the values stand
// zeros, and behind an empty memory the identity, so that the same recurrence gives what leads from
// the memory before the part to the one after it, and to every output. There is nothing left to do
// while the exchange is on its way.
Attended correct_part(DeltaInputs in, const Span& span) {
  const int64_t batch = in.q.size(0), length = in.q.size(1), heads = in.v.size(2);
  const int64_t keys = in.q.size(3), values = in.v.size(3);
  const at::TensorOptions kind = in.v.options();
  in.v = at::cat({in.v, at::zeros({batch, length, heads, keys}, kind)}, 3);
  in.memory = at::cat({at::zeros({keys, values}, kind), at::eye(keys, kind)}, 1)
                  .expand({batch, heads, keys, values + keys})
                  .contiguous();
  const Attended wide = attend(in, span);
  const auto part = [&](const Tensor& x) { return x.split_with_sizes({values, keys}, 3); };
  const std::vector<Tensor> memories = part(wide.memory), outputs = part(wide.o);
  const Tensor before =
      span.stretch->prefix_compose(memories[1], memories[0], "the state of a delta rule").finish();
  return {outputs[0] + at::matmul(outputs[1].transpose(1, 2), before).transpose(1, 2), Tensor()};
}

// A part of a sequence under gated linear attention, whose transition is a decay per row: it and
// what the part adds are on their way while its own tokens read each other. k, v, g of groups.
Attended attend_part(DeltaInputs in, const Span& span) {
  const int64_t heads = in.q.size(2);
  const auto repeated_heads = [&](const Tensor& x) { return repeated(x, heads); };
  clear_padding(in, span);
  const ops::Borders borders(in.starts);
  const Tensor leaving = ops::cleared(ops::sums_behind(in.g).exp(), borders.cut_out);
  const Tensor across = ops::cleared(in.g.sum(1).exp(), borders.broken);  // (B, G, K)
  const Tensor added = at::matmul((in.k * leaving).permute({0, 2, 3, 1}), in.v.transpose(1, 2));
  Arrival arriving =
      span.stretch->prefix_compose(across, added, "the state of gated linear attention");
  const Tensor o =
      attend({in.q, repeated_heads(in.k), repeated_heads(in.v), repeated_heads(in.g), {}, {}, {}},
             span)
          .o;
  const Tensor entering = ops::cleared(in.g.cumsum(1).exp(), borders.cut_in);
  const Tensor reading = (in.q * repeated_heads(entering)).transpose(1, 2);
  const Tensor before = ops::repeat_groups(arriving.finish(), heads);
  return {o + at::matmul(reading, before).transpose(1, 2), Tensor()};
}

}  // namespace

Attended gated_delta_rule(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& g,
                          const Tensor& beta, const Tensor& memory, const Span& span) {
  const int64_t heads = v.size(2);
  ECHO_CHECK(q.dim() == 4 && q.sizes() == k.sizes() && heads % q.size(2) == 0 &&
                 beta.size(2) == heads && (!g.defined() || g.size(2) == heads),
             "a delta rule of " << q.sizes() << ", " << k.sizes() << ", " << v.sizes());
  ECHO_CHECK(!span.stretch || !memory.defined(), "a memory beside other ranks");
  const bool channels = g.defined() && g.dim() == 4;
  return (span.stretch ? correct_part : attend)({channels ? repeated(q, heads) : q,
                                                 channels ? repeated(k, heads) : k,
                                                 v,
                                                 g,
                                                 beta,
                                                 memory,
                                                 {}},
                                                span);
}

Attended gated_linear_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& g,
                                const Tensor& memory, const Span& span) {
  const int64_t heads = q.size(2);
  ECHO_CHECK(k.sizes() == g.sizes() && k.size(2) == v.size(2) && heads % k.size(2) == 0 &&
                 q.size(3) == k.size(3),
             "gated linear attention of " << q.sizes() << ", " << k.sizes() << ", " << v.sizes()
                                          << ", " << g.sizes());
  ECHO_CHECK(!span.stretch || !memory.defined(), "a memory beside other ranks");
  if (span.stretch) return attend_part({q, k, v, g, {}, {}, {}}, span);
  return attend({q, repeated(k, heads), repeated(v, heads), repeated(g, heads), {}, memory, {}},
                span);
}

}  // namespace echo
