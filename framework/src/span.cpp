#include <echo/span.h>

#include <ATen/ATen.h>

namespace echo {

Offsets host_offsets(const at::Tensor& starts, const at::Tensor& lengths, int64_t batch,
                     int64_t length) {
  Offsets offsets;
  offsets.starts.resize(static_cast<size_t>(batch));
  offsets.lengths.assign(static_cast<size_t>(batch), length);
  if (lengths.defined()) {
    const at::Tensor host = lengths.to(at::kCPU, at::kLong).contiguous();
    std::copy_n(host.const_data_ptr<int64_t>(), batch, offsets.lengths.begin());
  }
  if (starts.defined()) {
    const at::Tensor host = starts.to(at::kCPU, at::kBool).contiguous();
    const bool* flags = host.const_data_ptr<bool>();
    for (int64_t row = 0; row < batch; ++row) {
      for (int64_t t = 0; t < offsets.lengths[static_cast<size_t>(row)]; ++t) {
        if (flags[row * length + t]) offsets.starts[static_cast<size_t>(row)].push_back(t);
      }
    }
  }
  return offsets;
}

at::Tensor padding(const at::Tensor& lengths, int64_t length) {
  return at::arange(length, lengths.options()) >= lengths.unsqueeze(1);
}

at::Tensor token_positions(const at::Tensor& position, const at::Tensor& starts, int64_t length) {
  if (length == 1 && !starts.defined()) return position.unsqueeze(1);
  const at::Tensor index = at::arange(length, position.options()).unsqueeze(0);
  const at::Tensor going_on = position.unsqueeze(1) + index;
  if (!starts.defined()) return going_on;
  const at::Tensor last_start =
      std::get<0>(at::where(starts, index, at::full_like(index, -1)).cummax(1));
  return at::where(last_start >= 0, index - last_start, going_on);
}

}  // namespace echo
