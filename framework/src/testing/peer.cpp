#include "framework/src/testing/peer.h"

#include "framework/src/plugin/loader.h"

#include <echo/error.h>

#include <cstdio>
#include <cstdlib>
#include <spawn.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/wait.h>

extern char** environ;

namespace echo::testing {

namespace {

using Json = nlohmann::json;

std::string python() {
  const char* chosen = std::getenv("ECHO_PYTHON");
  return chosen && *chosen ? chosen : "python3";
}

}  // namespace

// A child that answers every line with a line. Both ends of its talk are one socket, so that a
// child that has died is an error and not a signal.
class Peer::Process {
 public:
  explicit Process(const std::vector<std::string>& words) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    if (::posix_spawnp(&id_, arguments[0], &files, nullptr, arguments.data(), environ) != 0)
      id_ = -1;
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    if (id_ < 0) {
      ::close(ends[0]);
    } else {
      socket_ = ends[0];
    }
  }
  ~Process() {
    if (socket_ >= 0) ::close(socket_);  // the child sees the end of its input and leaves
    if (id_ > 0) ::waitpid(id_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool started() const { return id_ > 0; }

  bool write(const std::string& line) {
    const std::string text = line + "\n";
    return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }

  std::optional<std::string> read() {
    std::string line;
    for (char letter = 0; ::read(socket_, &letter, 1) == 1;) {
      if (letter == '\n') return line;
      line += letter;
    }
    return std::nullopt;
  }

 private:
  pid_t id_ = -1;
  int socket_ = -1;
};

Peer::Peer(const std::filesystem::path& script, const std::string& fields,
           const SpeedOptions& options) {
  if (!std::filesystem::exists(script)) {
    missing_ = "no peer is known for this mixer: there is no " + script.string();
    return;
  }
  const Json request = {{"script", script.string()},
                        {"fields", Json::parse(fields)},
                        {"width", options.width},
                        {"length", options.length},
                        {"batch", options.batch}};
  const std::filesystem::path driver = Plugins::builtin_folder() / "peer.py";
  process_ = std::make_unique<Process>(
      std::vector<std::string>{python(), driver.string(), request.dump()});
  const std::optional<std::string> answer =
      process_->started() ? process_->read() : std::optional<std::string>();
  if (!answer) {
    missing_ = "`" + python() +
               "` does not run; install Python 3 with torch (pip install torch numpy), or name "
               "one that has it with ECHO_PYTHON";
    return;
  }
  const Json found = Json::parse(*answer, nullptr, /*allow_exceptions=*/false);
  if (!found.is_object() || !found.contains("name")) {
    missing_ = found.is_object() ? found.value("missing", *answer) : *answer;
    return;
  }
  name_ = found["name"].get<std::string>();
}

Peer::~Peer() = default;

std::optional<double> Peer::seconds(SpeedRow::Pass pass, std::optional<int64_t> context) {
  const Json wanted = {{"pass", pass_name(pass)},
                       {"context", context ? Json(*context) : Json(nullptr)}};
  if (!missing_.empty() || !process_->write(wanted.dump())) return std::nullopt;
  const std::optional<std::string> answer = process_->read();
  if (!answer) throw Error("the peer " + name_ + " ended while its " + pass_name(pass) + " ran");
  const Json found = Json::parse(*answer, nullptr, /*allow_exceptions=*/false);
  return found.is_number() ? std::optional(found.get<double>()) : std::nullopt;
}

}  // namespace echo::testing
