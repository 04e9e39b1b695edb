#include "mixers/attention/blocks.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo::attention {

namespace {

constexpr int64_t kMaskElements = 1 << 24;  // of one block's mask, over the batch

struct Block {
  int64_t first = 0;      // query
  int64_t count = 0;      // queries
  int64_t first_key = 0;  // keys [first_key, memory + first + count)
};

// The earliest token of the stretch that row's token t may read; -1: also the memory.
int64_t document_begin(const std::vector<int64_t>& starts, int64_t t) {
  const auto after = std::upper_bound(starts.begin(), starts.end(), t);
  return after == starts.begin() ? -1 : *(after - 1);
}

// The first key that any row's query from `first` on may read.
int64_t first_key(const Reading& reading, int64_t first) {
  int64_t begin = -1;
  if (reading.offsets) {
    begin = first;
    for (const auto& starts : reading.offsets->starts)
      begin = std::min(begin, document_begin(starts, first));
  }
  if (reading.window) begin = std::max(begin, first - *reading.window + 1);
  return begin < 0 ? 0 : reading.memory + begin;
}

int64_t block_size(const Reading& reading, int64_t batch, int64_t keys) {
  // Half a window: a quarter of the scores are masked ones.
  int64_t size = 256;
  if (reading.window) {
    size = std::clamp<int64_t>(*reading.window / 2 / 64 * 64, 64, 512);
    keys = std::min(keys, *reading.window + size);
  }
  while (size > 32 && batch * size * keys > kMaskElements) size /= 2;
  return size;
}

std::vector<Block> blocks_of(const Reading& reading, int64_t length, int64_t size) {
  std::vector<Block> blocks;
  for (int64_t first = 0; first < length; first += size)
    blocks.push_back({first, std::min(size, length - first), first_key(reading, first)});
  return blocks;
}

at::Tensor mask_of(const Reading& reading, const Block& block) {
  const int64_t keys = reading.memory + block.first + block.count - block.first_key;
  const auto queries = [&](const at::Tensor& x) {
    return x.narrow(1, block.first, block.count).unsqueeze(2);
  };
  const auto read = [&](const at::Tensor& x) {
    return x.narrow(1, block.first_key, keys).unsqueeze(1);
  };
  const at::Tensor distance = queries(reading.query_position) - read(reading.key_position);
  at::Tensor mask = distance >= 0;
  if (reading.window) mask = mask.logical_and_(distance < *reading.window);
  if (reading.query_document.defined()) {
    mask = mask.logical_and(queries(reading.query_document) == read(reading.key_document));
  }
  return mask.unsqueeze(1);  // (B or 1, 1, count, keys)
}

// Keys and values by block. With gradients on, a view of a part would give back a gradient of the
// whole length for every block; joined pieces give back only their own. Pieces are copies, so that
// is done while all blocks together read a few times the keys there are.
class Keys {
 public:
  Keys(const at::Tensor& k, const at::Tensor& v, int64_t memory, int64_t size,
       const std::vector<Block>& blocks)
      : k_(k), v_(v), memory_(memory), size_(size) {
    int64_t read = 0;
    for (const Block& block : blocks)
      read += memory + block.first + block.count - aligned(block.first_key);
    const bool graph = c10::GradMode::is_enabled() && (k.requires_grad() || v.requires_grad());
    if (!graph || read > 8 * k.size(2)) return;
    std::vector<int64_t> sizes;
    if (memory > 0) sizes.push_back(memory);
    for (const Block& block : blocks) sizes.push_back(block.count);
    k_pieces_ = k.split_with_sizes(sizes, 2);
    v_pieces_ = v.split_with_sizes(sizes, 2);
  }

  // The block as it will be read: pieces are read whole.
  Block whole(Block block) const {
    if (!k_pieces_.empty()) block.first_key = aligned(block.first_key);
    return block;
  }

  at::Tensor k(const Block& block) const { return part(k_, k_pieces_, block); }
  at::Tensor v(const Block& block) const { return part(v_, v_pieces_, block); }

 private:
  int64_t aligned(int64_t key) const {
    return key < memory_ ? 0 : memory_ + (key - memory_) / size_ * size_;
  }

  at::Tensor part(const at::Tensor& all, const std::vector<at::Tensor>& pieces,
                  const Block& block) const {
    const int64_t end = memory_ + block.first + block.count;
    if (pieces.empty()) return all.narrow(2, block.first_key, end - block.first_key);
    const int64_t own = memory_ > 0 ? 1 : 0;  // the first piece of the stretch
    const int64_t from = block.first_key < memory_ ? 0 : own + (block.first_key - memory_) / size_;
    const int64_t to = own + block.first / size_ + 1;
    return at::cat(std::vector<at::Tensor>(pieces.begin() + from, pieces.begin() + to), 2);
  }

  at::Tensor k_;
  at::Tensor v_;
  int64_t memory_;
  int64_t size_;
  std::vector<at::Tensor> k_pieces_;  // the memory, then the blocks; empty: views instead
  std::vector<at::Tensor> v_pieces_;
};

}  // namespace

int64_t pairs_in_blocks(int64_t batch, int64_t length, int64_t window) {
  Reading reading;
  reading.window = window;
  int64_t pairs = 0;
  for (const Block& block : blocks_of(reading, length, block_size(reading, batch, length)))
    pairs += block.count * (block.first + block.count - block.first_key);
  return batch * pairs;
}

at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& mask) {
  const bool groups = q.size(1) != k.size(1);
  if (!mask.defined())
    return at::scaled_dot_product_attention(q, k, v, {}, 0, /*is_causal=*/true, {}, groups);
  return at::scaled_dot_product_attention(q, k, v, mask, 0, /*is_causal=*/false, {}, groups);
}

at::Tensor attend_blocks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const Reading& reading) {
  const int64_t length = q.size(2);
  const int64_t rows = std::max(reading.query_position.size(0), reading.key_position.size(0));
  const int64_t size = block_size(reading, rows, k.size(2));
  const std::vector<Block> blocks = blocks_of(reading, length, size);
  const Keys keys(k, v, reading.memory, size, blocks);
  const std::vector<at::Tensor> queries = q.split(size, 2);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block block = keys.whole(blocks[i]);
    outputs.push_back(
        fused_attention(queries[i], keys.k(block), keys.v(block), mask_of(reading, block)));
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs, 2);
}

}  // namespace echo::attention
