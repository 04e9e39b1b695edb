#pragma once

#include <echo/fields.h>
#include <echo/task.h>

#include <cstdint>
#include <optional>
#include <string>

namespace echo {

struct TokensOptions {
  std::string file;
  int64_t vocabulary = 256;
  int64_t length = 512;
  double held_out = 0.1;
  std::optional<int64_t> seed;

  void visit(Fields& fields);
};

// Predicts the next token of a file of token ids; see README.md. Without a file, what an imported
// model has, it gives no samples: such a model can be asked for tokens and scores only. After
// prepare() it may be used by several threads.
class Tokens final : public Task {
 public:
  Tokens(const TokensOptions& options, const TaskPlace& place);

  void prepare() override;
  TaskInfo info() const override;
  std::string fingerprint() const override;
  Batch batch(Split split, int64_t first, int64_t count) const override;
  std::string show(const Batch& batch, int64_t row) const override;

 private:
  struct Part {
    int64_t begin = 0;
    int64_t end = 0;
  };
  Part part(Split split) const;
  int64_t samples(Split split) const;

  TokensOptions options_;
  uint64_t seed_;
  at::Tensor tokens_;  // (N) int64; undefined before prepare()
};

}  // namespace echo
