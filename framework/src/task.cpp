#include <echo/task.h>

#include <algorithm>
#include <sstream>

#include <ATen/ATen.h>

namespace echo {

const char* split_name(Split split) {
  if (split == Split::train) return "train";
  return split == Split::validation ? "validation" : "test";
}

void add(Scores& scores, const Scores& more) {
  for (const auto& [name, score] : more) {
    scores[name].sum += score.sum;
    scores[name].count += score.count;
  }
}

namespace {

// Adds a batch's accuracy to the score of each sample's slice.
void score_slices(const Task& task, const at::Tensor& slice, const at::Tensor& accuracy,
                  const at::Tensor& any, Scores& scores) {
  for (int64_t row = 0; row < slice.size(0); ++row) {
    Score& score = scores["accuracy/" + task.slice_name(slice[row].item<int64_t>())];
    score.sum += accuracy[row].item<double>();
    score.count += any[row].item<double>();
  }
}

}  // namespace

Scores Task::score(Evaluator& model, const Batch& batch) const {
  const Evaluator::Result result = model.score(batch);
  const at::Tensor scored = batch.labels != -100;
  const at::Tensor per_sample = scored.sum(1).to(at::kDouble);
  const at::Tensor right =
      result.prediction.eq(batch.labels).logical_and(scored).sum(1).to(at::kDouble);
  const at::Tensor any = per_sample > 0;
  const at::Tensor accuracy =
      at::where(any, right / per_sample.clamp_min(1), at::zeros_like(right));
  Scores scores;
  scores["loss"] = {-result.log_probability.to(at::kDouble).sum().item<double>(),
                    per_sample.sum().item<double>()};
  scores["accuracy"] = {accuracy.sum().item<double>(), any.sum().item<double>()};
  if (batch.slice.defined()) score_slices(*this, batch.slice, accuracy, any, scores);
  return scores;
}

Scores Task::evaluate(Evaluator& model, Split split) const {
  const TaskInfo facts = info();
  const int64_t total = split == Split::test         ? facts.test_samples
                        : split == Split::validation ? facts.validation_samples
                                                     : facts.train_samples;
  Scores scores;
  for (int64_t first = 0; first < total; first += model.batch_size()) {
    const Batch part = batch(split, first, std::min(model.batch_size(), total - first));
    add(scores, score(model, part));
    model.progress(std::min(total, first + model.batch_size()), total);
  }
  return scores;
}

std::string Task::slice_name(int64_t slice) const { return std::to_string(slice); }

std::string Task::show(const Batch& batch, int64_t row) const {
  std::ostringstream text;
  const at::Tensor inputs = batch.inputs[row].contiguous();
  const at::Tensor labels = batch.labels[row].contiguous();
  const int64_t* input = inputs.const_data_ptr<int64_t>();
  const int64_t* label = labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < inputs.numel(); ++i) {
    text << (i ? " " : "") << input[i];
    if (label[i] != -100) text << "->" << label[i];
  }
  return text.str();
}

std::vector<int64_t> Task::encode(const std::string& text) const {
  std::istringstream words(text);
  std::vector<int64_t> tokens;
  for (int64_t token = 0; words >> token;) tokens.push_back(token);
  return tokens;
}

std::string Task::decode(const std::vector<int64_t>& tokens) const {
  std::string text;
  for (const int64_t token : tokens) text += (text.empty() ? "" : " ") + std::to_string(token);
  return text;
}

}  // namespace echo
