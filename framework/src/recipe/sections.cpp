#include "framework/src/recipe/recipe.h"

#include <echo/sizes.h>

namespace echo {

// The fields of a recipe's own sections: defaults stand in recipe.h.

void Recipe::visit(Fields& fields) {
  fields("name", name, "of the run and its folder; not written: the recipe's file name");
  fields("seed", seed, "of all that is drawn: initial values, data, dropout", at_least(0));
  fields.path("plugins", plugins, "plugins to load (.so), relative to this file");
  fields.section("parallel", parallel, "how a run is spread over ranks");
}

void ParallelRecipe::visit(Fields& fields) {
  fields("data", data, "groups of ranks that share a batch; null: as many as there are ranks for",
         count_from(1));
  fields("sequence", sequence, "ranks that share every sequence, each a part of its tokens",
         count_from(1));
  fields("zero", zero, "1: every rank keeps the optimizer's state of its share of the parameters",
         Range{.low = 0, .high = 1});
  fields("time_limit", time_limit,
         "seconds that a rank waits for the others before the run ends with an error", above(0));
  fields("grace", grace,
         "seconds that ranks have to save after a signal; later the last checkpoint stands",
         above(0));
}

void NormRecipe::visit(Fields& fields) {
  fields.choice("kind", kind,
                {{"rms_norm", NormKind::rms_norm}, {"layer_norm", NormKind::layer_norm}},
                "root mean square only, or mean and deviation");
  fields("eps", eps, "added to the mean square", above(0));
}

void BranchRecipe::visit(Fields& fields) {
  fields.choice(
      "norm", norm,
      {{"pre", NormPlacement::pre}, {"post", NormPlacement::post}, {"none", NormPlacement::none}},
      "x += scale mixer(norm(x)), x += scale norm(mixer(x)), or x += scale mixer(x)");
  fields("scale", scale, "factor of what the branch adds");
}

void HeadRecipe::visit(Fields& fields) {
  fields("tied", tied, "the head's matrix is the embedding's");
}

void PositionsRecipe::visit(Fields& fields) {
  fields.choice("kind", kind, {{"none", PositionsKind::none}, {"learned", PositionsKind::learned}},
                "what is added to the embedding: nothing, or a vector per position");
  fields("length", length, "learned: number of positions; null: the task's longest sample",
         rows_from(1));
}

void ModelRecipe::visit(Fields& fields) {
  fields("width", width, "of the vector that runs through the model", size_from(1));
  fields("vocabulary", vocabulary,
         "number of tokens that embedding and head know; not written: the task's", rows_from(1));
  fields.section("norm", norm, "of every branch, and of the end");
  fields.section("head", head, "from the last vector to the logits");
  fields.section("positions", positions, "position embedding");
  fields("dropout", dropout, "probability, after the embedding and after every mixer",
         Range{.low = 0, .high = 1, .high_open = true});
  fields("embedding_scale", embedding_scale, "factor of the embedding's output");
  fields("logit_scale", logit_scale, "factor of the logits");
}

void CheckpointRecipe::visit(Fields& fields) {
  fields("every", every, "steps between two checkpoints; null: only at the end", at_least(1));
  fields("keep", keep, "number of checkpoints that stay; older ones are deleted", at_least(1));
}

void TrainRecipe::visit(Fields& fields) {
  fields("steps", steps, "training steps; null: train.epochs decides", at_least(1));
  fields("epochs", epochs,
         "passes over the task's training set, instead of steps; null: steps decides", above(0));
  fields("batch", batch, "samples of one step, over all ranks and micro-batches", count_from(1));
  fields("accumulation", accumulation, "micro-batches of one step; must divide the batch",
         count_from(1));
  fields.choice("precision", precision,
                {{"float32", Precision::float32}, {"bfloat16", Precision::bfloat16}},
                "of the activations; parameters stay float32");
  fields("clip", clip, "longest gradient (L2 norm over all parameters); null: no clipping",
         above(0));
  fields("log_every", log_every, "steps between two lines of metrics.jsonl", at_least(1));
  fields.section("checkpoint", checkpoint, "what a run can be resumed from");
}

void EvaluateRecipe::visit(Fields& fields) {
  fields("every", every, "steps between two evaluations; null: only at the end", at_least(1));
  fields("batch", batch, "samples of one forward pass; null: a micro-batch of training",
         count_from(1));
}

}  // namespace echo
