#include <echo/parallel.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

namespace echo {

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body) {
  const int64_t items = end - begin;
  if (items <= 0) return;
  if (items <= grain || at::get_num_threads() == 1) {
    body(begin, end);
    return;
  }
  // An iterator's for_each is compiled inside LibTorch, so the work runs on its pool whatever
  // OpenMP flags this file was built with. The bytes are only addresses: their distance from the
  // first is the index.
  at::Tensor indices = at::empty({items}, at::TensorOptions().dtype(at::kByte));
  const char* const first = static_cast<const char*>(indices.const_data_ptr());
  at::TensorIterator iterator = at::TensorIterator::nullary_op(indices);
  iterator.for_each(
      [&](char** data, const int64_t*, int64_t count) {
        const int64_t from = begin + (data[0] - first);
        body(from, from + count);
      },
      grain);
}

}  // namespace echo
