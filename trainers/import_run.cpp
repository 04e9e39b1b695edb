#include "trainers/import_run.h"

#include "framework/src/files/file.h"
#include "framework/src/files/sha256.h"
#include "framework/src/import/import.h"
#include "trainers/environment.h"

#include <echo/error.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

// "." and "checkpoints/llama/" have names, too.
std::string name_of(const fs::path& folder) {
  return RunFolder(fs::absolute(folder)).path().filename().string();
}

void write_run(const RunFolder& folder, const ImportedModel& imported, const ImportRequest& request,
               const Plugins& plugins) {
  const Checkpoints checkpoints = folder.checkpoints();
  checkpoints.clean();
  checkpoints.save(
      {.model = *imported.model,
       .slots = {},
       .state = {},
       .metadata = model_metadata(imported.recipe, plugins.loaded(), plugins.registry())},
      1);
  nlohmann::ordered_json environment =
      environment_json(imported.recipe, plugins.loaded(), {.command = request.command});
  environment["imported"] = {{"folder", fs::absolute(request.checkpoint).string()},
                             {"class", imported.class_name},
                             {"config_sha256", sha256_file(request.checkpoint / "config.json")}};
  replace_file(folder.environment(), environment.dump(2) + "\n");
  replace_file(folder.recipe(), resolved_yaml(imported.recipe));
}

}  // namespace

ImportedRun import_run(const ImportRequest& request, Plugins& plugins) {
  const RunFolder folder(request.run.empty() ? fs::path("runs") / name_of(request.checkpoint)
                                             : request.run);
  const std::string path = folder.path().string();
  if (fs::exists(fs::symlink_status(folder.path())))
    throw ConfigError(path + " exists already; name another run folder with --run, or remove it");
  const ImportedModel imported =
      import_model(request.checkpoint, name_of(folder.path()), plugins.registry());
  try {
    write_folder(folder.path(), [&](const fs::path& temporary) {
      write_run(RunFolder(temporary), imported, request, plugins);
    });
  } catch (const fs::filesystem_error& failure) {
    throw Error("cannot write the run folder " + path + ": " + failure.code().message() +
                "; choose another one with --run");
  }
  return {folder, imported.class_name, imported.model->parameter_count(),
          static_cast<int64_t>(imported.recipe.model.blocks.size())};
}

}  // namespace echo
