#include "framework/src/ranks/rank_stretch.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace echo {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

SequencePart part_of(const Offsets& offsets, int64_t length, int64_t rank, int64_t ranks,
                     at::Device device) {
  if (length < ranks) {
    throw Error("sequences of " + std::to_string(length) + " tokens cannot be shared by " +
                std::to_string(ranks) +
                " ranks: each needs a token of its own; lower parallel.sequence");
  }
  SequencePart part{.rank = rank, .ranks = ranks, .whole = length};
  const auto rows = static_cast<int64_t>(offsets.starts.size());
  part.position = at::empty({rows}, at::kLong);
  Tensor unbroken = at::ones({ranks, rows}, at::kBool);
  bool any = false;
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int64_t>& starts = offsets.starts[static_cast<size_t>(row)];
    int64_t begin = 0;  // of the document that this part goes on with
    for (const int64_t start : starts) {
      if (start == 0) continue;  // nothing is before it
      any = true;
      if (start < part.first()) begin = start;
      int64_t owner = 0;
      while (start >= part.first(owner + 1)) ++owner;
      unbroken.mutable_data_ptr<bool>()[owner * rows + row] = false;
    }
    const int64_t before = part.first() - begin;
    part.position.mutable_data_ptr<int64_t>()[row] = before;
    part.longest = std::max(part.longest, before);
  }
  part.position = part.position.to(device);
  if (any) part.unbroken = unbroken.to(device);
  return part;
}

namespace {

// A gather on its way, and later that of its gradient.
struct Exchange final : torch::CustomClassHolder {
  Communicator& ranks;
  std::string purpose;
  std::vector<int64_t> shape;  // of a part
  Shares shares;
  Tensor whole;  // (ranks, ...)
  at::TensorOptions kind;
  std::unique_ptr<Pending> pending;

  Exchange(Communicator& ranks, std::string purpose) : ranks(ranks), purpose(std::move(purpose)) {}

  // The tensors must not go before the engine has let go of them.
  ~Exchange() override {
    try {
      wait();
    } catch (const std::exception&) {  // somebody else fails of it
    }
  }

  void wait() {
    if (auto waited = std::exchange(pending, nullptr)) waited->wait();
  }

  void begin(const Tensor& part) {
    kind = part.options();
    shape = part.sizes().vec();
    shares.assign(static_cast<size_t>(ranks.size()), part.numel());
    std::vector<int64_t> all = shape;
    all.insert(all.begin(), ranks.size());
    whole = at::empty(all, part.options());
    whole[ranks.rank()].copy_(part);
    pending = ranks.all_gather(whole.view(-1), shares, purpose);
  }

  // On the part's device, so that one thread of the engine runs all of an exchange's nodes.
  Tensor token() const { return at::zeros({}, kind); }

  Tensor finish() {
    wait();
    return std::exchange(whole, Tensor());
  }

  void begin_backward(const Tensor& gradients) {
    whole = gradients.clone(at::MemoryFormat::Contiguous);
    pending = ranks.reduce_scatter(whole.view(-1), shares, "the gradient of " + purpose);
  }

  Tensor finish_backward() {
    wait();
    return std::exchange(whole, Tensor())[ranks.rank()].clone();
  }
};

using ExchangePointer = c10::intrusive_ptr<Exchange>;

void keep(AutogradContext* context, const ExchangePointer& exchange) {
  context->saved_data["exchange"] = c10::IValue::make_capsule(
      c10::static_intrusive_pointer_cast<torch::CustomClassHolder>(exchange));
}

ExchangePointer kept(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Exchange>(context->saved_data["exchange"].toCapsule());
}

// An exchange is two nodes of the graph, Begin and Finish, joined by a number that means nothing.
// Backward, Finish sends the gradients off and Begin waits for their sum: what stands between the
// two in the forward pass runs between them backward too, as the engine prefers later nodes.
class Begin : public torch::autograd::Function<Begin> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& part,
                        const ExchangePointer& exchange) {
    keep(context, exchange);
    exchange->begin(part);
    return exchange->token();
  }
  static variable_list backward(AutogradContext* context, const variable_list&) {
    return {kept(context)->finish_backward(), Tensor()};
  }
};

// The ticket of the exchange that was finished before: backward this one comes first.
class Finish : public torch::autograd::Function<Finish> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& /*begun*/,
                               const Tensor& /*ticket*/, const ExchangePointer& exchange) {
    keep(context, exchange);
    return {exchange->finish(), exchange->token()};
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const ExchangePointer exchange = kept(context);
    exchange->begin_backward(gradients[0]);
    return {exchange->token(), exchange->token(), Tensor()};
  }
};

class Tie : public torch::autograd::Function<Tie> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& y, const Tensor& /*ticket*/) { return y; }
  static variable_list backward(AutogradContext*, const variable_list& gradients) {
    return {gradients[0], at::zeros({}, gradients[0].options())};
  }
};

}  // namespace

RankStretch::RankStretch(Communicator& ranks, const SequencePart& part)
    : ranks_(ranks), part_(part), ticket_(at::zeros({})) {
  ECHO_CHECK(ranks.size() == part.ranks && ranks.rank() == part.rank,
             "part " << part.rank << " of " << part.ranks << " on rank " << ranks.rank() << " of "
                     << ranks.size());
}

Arrival RankStretch::gather(const Tensor& part, const std::string& what) {
  const auto exchange = c10::make_intrusive<Exchange>(
      ranks_, "exchange " + std::to_string(exchanges_++) + " of a sequence (" + what + ")");
  const Tensor begun = Begin::apply(part, exchange);
  return Arrival([this, exchange, begun] {
    const variable_list results = Finish::apply(begun, ticket_, exchange);
    ticket_ = results[1];
    return results[0];
  });
}

Tensor RankStretch::tied(const Tensor& y) {
  return ticket_.requires_grad() ? Tie::apply(y, ticket_) : y;
}

}  // namespace echo
