#include "framework/src/recipe/nested.h"

#include "framework/src/recipe/kinds.h"
#include "framework/src/text/near.h"

#include <algorithm>

namespace echo {

namespace {

// The resolved recipe shows all of them in full, and must be read again.
constexpr int64_t kDeepestMixers = 24;
constexpr int64_t kMostMixers = 16384;

std::vector<std::string> names_of(const Kinds<Mixer, Place>& kinds) {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds.all()) names.push_back(name);
  return names;
}

void collect(const std::vector<Field>& fields, std::vector<MixerChoice>& found) {
  for (const Field& field : fields) {
    if (const auto* section = std::get_if<Section>(&field.target))
      collect(fields_of(*section), found);
    if (const auto* list = std::get_if<SectionList>(&field.target)) {
      for (size_t i = 0; i < list->size(); ++i) {
        FieldCollector collector;
        list->visit(i, collector);
        collect(collector.fields, found);
      }
    }
    const auto* mixers = std::get_if<std::vector<MixerChoice>*>(&field.target);
    if (!mixers) continue;
    for (const MixerChoice& mixer : **mixers) {
      found.push_back(mixer);
      collect(fields_of(*mixer.options), found);
    }
  }
}

}  // namespace

MixerChoice NestedMixers::read(const Node& node, const std::string& path, Places& places) {
  if (depth_ == kDeepestMixers) {
    throw ConfigError(node.where, path + ": more than " + std::to_string(kDeepestMixers) +
                                      " mixers inside of each other");
  }
  if (++count_ > kMostMixers) {
    throw ConfigError(node.where, path + ": up to here more than " + std::to_string(kMostMixers) +
                                      " mixers stand inside of others, which is too many");
  }
  ++depth_;
  MixerChoice choice =
      node.is_scalar() ? read_word(node, path, places) : read_map(node, path, places);
  --depth_;
  return choice;
}

MixerChoice NestedMixers::read_word(const Node& node, const std::string& path, Places& places) {
  const std::string& name = node.text;
  if (const Node* map = find_template(name)) {
    const bool circle = std::find(names_.begin(), names_.end(), name) != names_.end();
    names_.push_back(name);
    if (circle)
      throw ConfigError(node.where, path + ": a mixer inside of itself: " + join(names_, " -> "));
    MixerChoice choice = read_map(*map, "model.mixers." + name, places);
    names_.pop_back();
    return choice;
  }
  if (const MixerKind* kind = kinds_.find(name)) return {*kind, kind->options()};
  std::vector<std::string> known = names_of(kinds_);
  if (templates_) {
    for (const Node::Entry& entry : templates_->entries) {
      if (find_template(entry.key)) known.push_back(entry.key);
    }
  }
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  throw ConfigError(node.where, path + ": unknown mixer " + node.found() +
                                    known_words(name, "known mixers", known));
}

MixerChoice NestedMixers::read_map(const Node& node, const std::string& path, Places& places) {
  const std::string name = read_kind_name(node, path, "mixer", names_of(kinds_), "");
  const MixerKind& kind = *kinds_.find(name);
  MixerChoice choice(kind, kind.options());
  places = read_fields(node, fields_of(*choice.options), {path, name, {"kind"}, this});
  return choice;
}

const Node* NestedMixers::find_template(const std::string& name) const {
  const Node* found = templates_ ? templates_->find(name) : nullptr;
  return found && found->is_map() ? found : nullptr;
}

std::vector<MixerChoice> nested_mixers(const Options& options) {
  const std::unique_ptr<Options> copy = options.clone();
  std::vector<MixerChoice> found;
  collect(fields_of(*copy), found);
  return found;
}

}  // namespace echo
