#include "trainers/text_stream.h"

namespace echo {

namespace {

constexpr size_t kContext = 4;  // tokens that the next one is decoded with

}  // namespace

std::string TextStream::push(int64_t token) {
  const std::string before = task_.decode(recent_);
  recent_.push_back(token);
  const std::string after = task_.decode(recent_);
  const std::string text = after.size() > before.size() ? after.substr(before.size()) : "";
  if (recent_.size() > kContext) recent_.erase(recent_.begin());
  return characters_.push(text);
}

std::string TextStream::finish() { return characters_.finish(); }

}  // namespace echo
