#pragma once

#include "framework/src/text/utf8.h"

#include <echo/task.h>

#include <string>
#include <vector>

namespace echo {

// The text of tokens that come one by one, as a task writes it, always whole UTF-8 characters. How
// a token reads may depend on those before it (a space between words), so a few of them are decoded
// again with each new one; the cost per token does not grow.
class TextStream {
 public:
  explicit TextStream(const Task& task) : task_(task) {}

  std::string push(int64_t token);  // the text that has become certain
  std::string finish();

 private:
  const Task& task_;
  std::vector<int64_t> recent_;
  Utf8Stream characters_;
};

}  // namespace echo
