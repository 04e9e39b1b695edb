#include "framework/src/ops/borders.h"
#include "framework/src/ops/chunks.h"
#include "framework/src/ops/kernel.h"
#include "framework/src/ops/reference.h"

#include <echo/ops.h>
#include <echo/parallel.h>
#include <echo/stretch.h>
#include <echo/vectors.h>

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace echo {

namespace {

using at::Tensor;
using ops::given;
using ops::pad_time;
using ops::product;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRows = 64;  // of a chunk, which all score each other

// Up to so many tokens are read one by one where gradients are off.
constexpr int64_t kSteps = 4;

struct Sizes {
  int64_t batch, length, ranks, heads, width;  // B, T, R, H, P
  int64_t groups, state;                       // G, N
  int64_t chunk, chunks;                       // tokens of a chunk, and how many

  Sizes(const Tensor& x, const Tensor& b)
      : batch(x.size(0)),
        length(x.size(1)),
        ranks(x.size(2)),
        heads(x.size(3)),
        width(x.size(4)),
        groups(b.size(3)),
        state(b.size(4)),
        chunk(std::min(length, std::max<int64_t>(1, kRows / ranks))),
        chunks((length + chunk - 1) / chunk) {}

  int64_t ratio() const { return heads / groups; }
  int64_t rows() const { return chunk * ranks; }
  int64_t all() const { return batch * chunks; }
  int64_t padding() const { return chunks * chunk - length; }
};

// (B, T, R, heads, width) -> (B chunks, G, rows, ratio width): rows of a chunk in the order (token,
// rank), and beside each other what the heads of a group have.
Tensor in_groups(const Tensor& x, const Sizes& sizes) {
  return pad_time(x, sizes.padding())
      .reshape({sizes.all(), sizes.rows(), sizes.groups, -1})
      .transpose(1, 2)
      .contiguous();
}

// The way back.
Tensor in_time(const Tensor& grouped, const Sizes& sizes, int64_t width) {
  return grouped.transpose(1, 2)
      .reshape({sizes.batch, sizes.chunks * sizes.chunk, sizes.ranks, -1, width})
      .narrow(1, 0, sizes.length);
}

// (B chunks, G, rows, ratio P) <-> (B chunks, H, rows, P)
Tensor by_head(const Tensor& grouped, const Sizes& sizes) {
  return grouped.unflatten(3, {sizes.ratio(), sizes.width})
      .transpose(2, 3)
      .reshape({sizes.all(), sizes.heads, sizes.rows(), sizes.width});
}

Tensor by_group(const Tensor& heads, const Sizes& sizes) {
  return heads.unflatten(1, {sizes.groups, sizes.ratio()}).transpose(2, 3);  // 5-d view
}

// How much of what a token brings is left where: exp of differences of the running sums of a.
struct Decays {
  Tensor within;  // (B chunks, H, C, C): from token j to token i of the chunk; 0 where i does not
                  // read j
  Tensor in;      // (B chunks, H, C): from before the chunk to token i
  Tensor out;     // (B chunks, H, C): from token j to the chunk's end
  Tensor across;  // (B, chunks, H, 1, 1): over the whole chunk
};

// starts (B, T) bool or undefined.
Decays decays_of(const Tensor& a, const Tensor& starts, const Sizes& sizes, OwnToken own) {
  const Tensor sums = pad_time(a, sizes.padding())
                          .reshape({sizes.all(), sizes.chunk, sizes.heads})
                          .transpose(1, 2)
                          .contiguous()
                          .cumsum(2);  // (B chunks, H, C)
  const Tensor end = sums.narrow(2, sizes.chunk - 1, 1);
  // Masked before exp: a difference that is not wanted may be large.
  const double none = -std::numeric_limits<double>::infinity();
  Tensor hidden = at::ones({sizes.chunk, sizes.chunk}, a.options().dtype(at::kBool))
                      .triu_(own == OwnToken::read ? 1 : 0)
                      .unsqueeze(0);
  Decays decays;
  decays.in = sums.exp();
  decays.out = (end - sums).exp_();
  Tensor across = end.exp();
  if (starts.defined()) {
    const Tensor count =
        pad_time(starts, sizes.padding()).reshape({sizes.all(), sizes.chunk}).cumsum(1);
    const Tensor last = count.narrow(1, sizes.chunk - 1, 1);
    hidden = hidden.logical_or(count.unsqueeze(2) != count.unsqueeze(1));
    decays.in.masked_fill_((count != 0).unsqueeze(1), 0);
    decays.out.masked_fill_((count != last).unsqueeze(1), 0);
    across = across.masked_fill((last != 0).unsqueeze(1), 0);
  }
  decays.within = (sums.unsqueeze(3) - sums.unsqueeze(2)).masked_fill_(hidden.unsqueeze(1), none);
  decays.within.exp_();
  decays.across = across.view({sizes.batch, sizes.chunks, sizes.heads, 1, 1});
  return decays;
}

// Decay (B chunks, H, C) of the rows of grouped heads: (B chunks, G, rows, ratio, 1).
Tensor for_rows(const Tensor& decay, const Sizes& sizes) {
  return decay.unflatten(1, {sizes.groups, sizes.ratio()})
      .transpose(2, 3)
      .unsqueeze(3)
      .expand({-1, -1, -1, sizes.ranks, -1})
      .reshape({sizes.all(), sizes.groups, sizes.rows(), sizes.ratio(), 1});
}

Tensor times(const Tensor& grouped, const Tensor& decay, const Sizes& sizes) {
  return (grouped.unflatten(3, {sizes.ratio(), sizes.width}) * decay).flatten(3);
}

// The decays within a chunk times numbers of pairs of rows, (B chunks, G or H, rows, rows), in
// which ranks repeat: (B chunks, G, ratio, C, R, C, R).
Tensor weigh(const Tensor& within, const Tensor& pairs, const Sizes& sizes) {
  const int64_t C = sizes.chunk, R = sizes.ranks;
  return pairs.view({sizes.all(), sizes.groups, -1, C, R, C, R}) *
         within.view({sizes.all(), sizes.groups, sizes.ratio(), C, 1, C, 1});
}

// A stretch in chunks, and what forward and backward both need of it.
struct Chunks {
  Sizes sizes;
  Tensor x, b, c;  // in groups
  Decays decays;
  Tensor weights;  // (B chunks, H, rows, rows): of row j in row i

  Chunks(const Tensor& x_, const Tensor& a, const Tensor& b_, const Tensor& c_,
         const Tensor& starts, OwnToken own)
      : sizes(x_, b_),
        x(in_groups(x_, sizes)),
        b(in_groups(b_, sizes)),
        c(in_groups(c_, sizes)),
        decays(decays_of(a, starts, sizes, own)),
        weights(weigh(decays.within, product(c, b.mT()), sizes)
                    .view({sizes.all(), sizes.heads, sizes.rows(), sizes.rows()})) {}

  Tensor kept() const { return times(x, for_rows(decays.out, sizes), sizes); }
  // (B chunks, G, ratio P, N) as (B, chunks, H, P, N)
  Tensor memories(const Tensor& grouped) const {
    return grouped.view({sizes.batch, sizes.chunks, sizes.heads, sizes.width, sizes.state});
  }
  Tensor grouped(const Tensor& memories) const {
    return memories.reshape({sizes.all(), sizes.groups, -1, sizes.state});
  }
};

struct Result {
  Tensor y;       // (B, T, R, H, P)
  Tensor before;  // (B, chunks + 1, H, P, N): memory before each chunk, and after the last
};

// memory undefined: zeros.
Result scan(const Chunks& chunks, const Tensor& memory) {
  const Sizes& sizes = chunks.sizes;
  const Tensor brought = chunks.memories(product(chunks.kept().mT(), chunks.b));
  Tensor before = at::empty({sizes.batch, sizes.chunks + 1, sizes.heads, sizes.width, sizes.state},
                            brought.options());
  if (memory.defined()) {
    before.select(1, 0).copy_(memory);
  } else {
    before.select(1, 0).zero_();
  }
  for (int64_t i = 0; i < sizes.chunks; ++i) {
    Tensor next = before.select(1, i + 1);
    at::addcmul_out(next, brought.select(1, i), before.select(1, i),
                    chunks.decays.across.select(1, i));
  }
  Tensor total = by_group(product(chunks.weights, by_head(chunks.x, sizes)), sizes);
  if (memory.defined() || sizes.chunks > 1) {
    const Tensor read = product(chunks.c, chunks.grouped(before.narrow(1, 0, sizes.chunks)).mT())
                            .unflatten(3, {sizes.ratio(), sizes.width});
    total = at::addcmul(total, read, for_rows(chunks.decays.in, sizes));
  }
  return {in_time(total.flatten(3), sizes, sizes.width), before};
}

struct Gradients {
  Tensor x, a, b, c, memory;
};

// dy (B, T, R, H, P), dafter (B, H, P, N) or undefined. With c_i the sum of a up to row i, the
// gradient of c_i is y_i . dy_i - x_i . dx_i: a pair (i, j) adds to that of i what it takes from
// that of j.
Gradients scan_backward(const Chunks& chunks, const Tensor& before, const Tensor& y,
                        const Tensor& dy_in_time, const Tensor& dafter) {
  const Sizes& sizes = chunks.sizes;
  const Tensor dy = in_groups(dy_in_time, sizes);
  const Tensor dread = times(dy, for_rows(chunks.decays.in, sizes), sizes);

  // Of the memory after each chunk, last to first.
  const Tensor asked = chunks.memories(product(dread.mT(), chunks.c));
  Tensor after = at::empty_like(asked);
  if (dafter.defined()) {
    after.select(1, sizes.chunks - 1).copy_(dafter);
  } else {
    after.select(1, sizes.chunks - 1).zero_();
  }
  for (int64_t i = sizes.chunks - 1; i > 0; --i) {
    Tensor earlier = after.select(1, i - 1);
    at::addcmul_out(earlier, asked.select(1, i), after.select(1, i),
                    chunks.decays.across.select(1, i));
  }

  Gradients gradients;
  gradients.memory =
      at::addcmul(asked.select(1, 0), after.select(1, 0), chunks.decays.across.select(1, 0));
  const Tensor dy_heads = by_head(dy, sizes);
  const Tensor dweights = product(dy_heads, by_head(chunks.x, sizes).mT());
  const Tensor dscores = weigh(chunks.decays.within, dweights, sizes)
                             .sum(2)
                             .view({sizes.all(), sizes.groups, sizes.rows(), sizes.rows()});
  const Tensor after_grouped = chunks.grouped(after);
  const Tensor before_grouped = chunks.grouped(before.narrow(1, 0, sizes.chunks));
  const Tensor dx_within = product(chunks.weights.mT(), dy_heads);
  const Tensor dx =
      at::addcmul(by_group(dx_within, sizes),
                  product(chunks.b, after_grouped.mT()).unflatten(3, {sizes.ratio(), sizes.width}),
                  for_rows(chunks.decays.out, sizes))
          .flatten(3);
  const Tensor dc = product(dscores, chunks.b) + product(dread, before_grouped);
  const Tensor db = product(dscores.mT(), chunks.c) + product(chunks.kept(), after_grouped);
  gradients.x = in_time(dx, sizes, sizes.width);
  gradients.b = in_time(db, sizes, sizes.state);
  gradients.c = in_time(dc, sizes, sizes.state);

  // (B, chunks, C, H)
  const auto per_token = [&](const Tensor& left, const Tensor& right) {
    return pad_time((left * right).sum(4).sum(2), sizes.padding())
        .view({sizes.batch, sizes.chunks, sizes.chunk, sizes.heads});
  };
  Tensor sums =
      per_token(y, dy_in_time) - per_token(gradients.x, in_time(chunks.x, sizes, sizes.width));
  const Tensor at_end = (before.narrow(1, 1, sizes.chunks) * after).sum({3, 4});  // (B, chunks, H)
  sums.select(2, sizes.chunk - 1).add_(at_end);
  const Tensor running = sums.cumsum(2);
  gradients.a = (running.narrow(2, sizes.chunk - 1, 1) - running + sums)
                    .view({sizes.batch, sizes.chunks * sizes.chunk, sizes.heads})
                    .narrow(1, 0, sizes.length);
  return gradients;
}

class ScanFunction : public torch::autograd::Function<ScanFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& a,
                               const Tensor& b, const Tensor& c,
                               const std::optional<Tensor>& memory,
                               const std::optional<Tensor>& starts, OwnToken own) {
    const Tensor cuts = starts.value_or(Tensor());
    Result result = scan(Chunks(x, a, b, c, cuts, own), memory.value_or(Tensor()));
    context->save_for_backward({x, a, b, c, cuts, result.before, result.y});
    context->saved_data["memory"] = memory.has_value();
    context->saved_data["skipped"] = own == OwnToken::skipped;
    context->set_materialize_grads(false);
    return {result.y, result.before.select(1, result.before.size(1) - 1).clone()};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ops::refuse_second_derivative("a state space scan");
    const variable_list saved = context->get_saved_variables();
    const Tensor dy = gradients[0].defined() ? gradients[0] : at::zeros_like(saved[6]);
    const bool skipped = context->saved_data["skipped"].toBool();
    const Chunks chunks(saved[0], saved[1], saved[2], saved[3], saved[4],
                        skipped ? OwnToken::skipped : OwnToken::read);
    Gradients back = scan_backward(chunks, saved[5], saved[6], dy, gradients[1]);
    if (!context->saved_data["memory"].toBool()) back.memory = Tensor();
    return {back.x, back.a, back.b, back.c, back.memory, Tensor(), Tensor()};
  }
};

// x, a, b, c have no padding tokens that would change the memory.
Scanned scan_pieces(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& c,
                    const Tensor& memory, const Tensor& starts, OwnToken own) {
  const bool graph = ops::needs_graph(x, a, b, c, memory);
  const int64_t length = x.size(1);
  const int64_t piece =
      std::max<int64_t>(1, ops::kChunksAtOnce / x.size(0)) * Sizes(x, b).chunk;  // tokens
  std::vector<Tensor> outputs;
  Tensor now = memory;
  for (int64_t first = 0; first < length; first += piece) {
    const auto cut = [&](const Tensor& tensor) {
      return tensor.defined() && piece < length
                 ? tensor.narrow(1, first, std::min(piece, length - first))
                 : tensor;
    };
    if (graph) {
      variable_list results =
          ScanFunction::apply(cut(x), cut(a), cut(b), cut(c), given(now), given(cut(starts)), own);
      outputs.push_back(results[0]);
      now = results[1];
    } else {
      Result result = scan(Chunks(cut(x), cut(a), cut(b), cut(c), cut(starts), own), now);
      outputs.push_back(result.y);
      now = result.before.select(1, result.before.size(1) - 1).clone();
    }
  }
  return {outputs.size() == 1 ? outputs[0] : at::cat(outputs, 1), now};
}

// A part of a sequence: its transition and what it adds to the memory are on their way while its
// own tokens are scanned. As scan_pieces; no memory is returned.
Scanned scan_part(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& c,
                  const Tensor& memory, const Tensor& starts, OwnToken own, Stretch& stretch) {
  const Sizes sizes(x, b);
  const std::vector<int64_t> shape = {sizes.batch, sizes.heads, sizes.width, sizes.state};
  const ops::Borders borders(starts);
  const auto rows = [&](const Tensor& tensor) {  // (B, G, T R, .)
    return tensor.reshape({sizes.batch, sizes.length * sizes.ranks, sizes.groups, -1})
        .transpose(1, 2);
  };
  const auto per_row = [](const Tensor& decay) { return decay.unsqueeze(2).unsqueeze(4); };
  const Tensor leaving = ops::cleared(ops::sums_behind(a).exp(), borders.cut_out);  // (B, T, H)
  const Tensor across = ops::cleared(a.sum(1).exp(), borders.broken);               // (B, H)
  Tensor added = at::matmul(rows(x * per_row(leaving)).mT(), rows(b)).reshape(shape);
  if (memory.defined()) added = added + across.unsqueeze(2).unsqueeze(3) * memory;
  Arrival arriving = stretch.prefix_compose(across, added, "the state of a scan");

  const Tensor y = scan_pieces(x, a, b, c, memory, starts, own).y;
  const Tensor entering = ops::cleared(a.cumsum(1).exp(), borders.cut_in);
  const Tensor incoming = arriving.finish().reshape({sizes.batch, sizes.groups, -1, sizes.state});
  const Tensor read = at::matmul(rows(c), incoming.mT()).transpose(1, 2).reshape(x.sizes());
  return {at::addcmul(y, read, per_row(entering)), Tensor()};
}

// One head of one row for one token, as the kernel sees it.
template <class T>
struct Step {
  int64_t ranks, width, state;
  int64_t x_stride, bc_stride, y_stride;  // from rank to rank
  OwnToken own;

  // memory (P, N) = decay memory + sum_r x_r b_r^T, y_r = memory c_r, before or after the sum
  void run(T* y, T* memory, T decay, const T* x, const T* b, const T* c) const {
    const bool after = own == OwnToken::read;
    for (int64_t p = 0; p < width; ++p) {
      T* const row = memory + p * state;
      const T first = after ? x[p] : T(0);
      for (int64_t i = 0; i < state; ++i) row[i] = decay * row[i] + first * b[i];
      if (after) write(row, x + p, b, 1);
      for (int64_t r = 0; r < ranks; ++r)
        y[r * y_stride + p] = vectors::dot(row, c + r * bc_stride, state);
      if (!after) write(row, x + p, b, 0);
    }
  }

  void write(T* row, const T* x, const T* b, int64_t first_rank) const {
    for (int64_t r = first_rank; r < ranks; ++r)
      vectors::add(row, b + r * bc_stride, x[r * x_stride], state);
  }
};

// Token by token, into the memory given (contiguous). starts (B, T) bool, lengths (B) or undefined.
template <class T>
Tensor scan_steps(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& c,
                  const Tensor& memory, const Span& span, OwnToken own) {
  const Sizes sizes(x, b);
  const int64_t B = sizes.batch, L = sizes.length, R = sizes.ranks, H = sizes.heads;
  const int64_t P = sizes.width, G = sizes.groups, N = sizes.state;
  Tensor y = at::empty(x.sizes(), x.options());
  const Tensor xs = x.contiguous(), as = a.contiguous(), bs = b.contiguous(), cs = c.contiguous();
  const Tensor cuts = span.starts.defined() ? span.starts.contiguous() : span.starts;
  const bool* const starts = cuts.defined() ? cuts.const_data_ptr<bool>() : nullptr;
  const int64_t* const lengths =
      span.lengths.defined() ? span.lengths.const_data_ptr<int64_t>() : nullptr;
  T* const to = y.mutable_data_ptr<T>();
  T* const kept = static_cast<T*>(memory.data_ptr());
  const T* const from = xs.const_data_ptr<T>();
  const T* const decays = as.const_data_ptr<T>();
  const T* const keys = bs.const_data_ptr<T>();
  const T* const queries = cs.const_data_ptr<T>();
  const Step<T> step{R, P, N, H * P, G * N, H * P, own};
  parallel_for(0, B * H, std::max<int64_t>(1, (1 << 16) / (P * N)),
               [&](int64_t begin, int64_t end) {
                 std::vector<T> spare;  // takes what padding would do to the memory
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t row = i / H, h = i % H, g = h / sizes.ratio();
                   T* const own = kept + i * P * N;
                   for (int64_t t = 0; t < L; ++t) {
                     const int64_t at = row * L + t;
                     T* now = own;
                     if (lengths && t >= lengths[row]) {
                       spare.assign(own, own + P * N);
                       now = spare.data();
                     }
                     const T decay = starts && starts[at] ? T(0) : std::exp(decays[at * H + h]);
                     if (decay == T(0)) std::fill(now, now + P * N, T(0));
                     const int64_t head = at * R * H * P + h * P, group = (at * R * G + g) * N;
                     vectors::with_widest([&] {
                       step.run(to + head, now, decay, from + head, keys + group, queries + group);
                     });
                   }
                 }
               });
  return y;
}

}  // namespace

Scanned state_space_scan(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& c,
                         const Tensor& memory, const Span& span, OwnToken own) {
  ECHO_CHECK(x.dim() == 5 && b.dim() == 5 && b.sizes() == c.sizes() && x.size(2) == b.size(2) &&
                 x.size(3) % b.size(3) == 0 && a.size(2) == x.size(3),
             "a state space scan of " << x.sizes() << ", " << a.sizes() << ", " << b.sizes() << ", "
                                      << c.sizes());
  const int64_t length = x.size(1);
  if (memory.defined() && !span.stretch && length <= kSteps && x.is_cpu() &&
      !c10::GradMode::is_enabled()) {
    const Tensor kept = writable(memory);
    const auto run = x.scalar_type() == at::kDouble ? scan_steps<double> : scan_steps<float>;
    return {run(x, a, b, c, kept, span, own), kept};
  }
  Tensor input = x, decay = a, starts = span.starts;
  if (span.lengths.defined()) {
    const Tensor pad = padding(span.lengths, length);
    input = x.masked_fill(pad.view({x.size(0), length, 1, 1, 1}), 0);
    decay = a.masked_fill(pad.unsqueeze(2), 0);
    if (starts.defined()) starts = starts.logical_and(pad.logical_not());
  }
  if (span.stretch) return scan_part(input, decay, b, c, memory, starts, own, *span.stretch);
  Scanned scanned = scan_pieces(input, decay, b, c, memory, starts, own);
  if (!memory.defined()) scanned.memory = Tensor();
  return scanned;
}

}  // namespace echo
