#include "trainers/distributed/launch.h"

#include "framework/src/text/terminal.h"
#include "trainers/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <regex>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <sys/wait.h>

#ifdef ECHO_MPI
#include "trainers/distributed/mpi_communicator.h"
#endif
#ifdef ECHO_NCCL
#include "trainers/distributed/nccl_communicator.h"
#endif

namespace echo {

namespace {

using namespace std::chrono_literals;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A whole number of the environment; -1 where there is none.
int64_t number(const char* name) {
  const std::string text = variable(name);
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::strtoll(text.c_str(), nullptr, 10);
}

int64_t cores() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

// Set for the ranks that run_ranks() starts: the columns of its terminal, 0 where it has none.
constexpr const char* kColumns = "ECHO_RANKS_TERMINAL";

// mpirun, which signals are handed on to. A handler can reach nothing but globals.
volatile pid_t launched = 0;
volatile std::sig_atomic_t handed_on = 0;

// The first one lets the ranks save; after the second mpirun ends them at once.
void hand_on(int) {
  if (launched > 0) ::kill(launched, handed_on ? SIGTERM : SIGUSR1);
  handed_on = 1;
}

std::vector<std::string> mpirun_command(int64_t ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"mpirun",    "-n",   std::to_string(ranks),
                                      "--bind-to", "none", "--oversubscribe"};
  if (::geteuid() == 0) command.emplace_back("--allow-run-as-root");
  command.push_back(std::filesystem::read_symlink("/proc/self/exe"));
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

// A group of its own: the terminal's Ctrl-C comes to this process, which hands it on gently. mpirun
// itself would kill the ranks a second later. `errors` becomes its stderr.
pid_t start(const std::vector<std::string>& command, int errors) {
  const Terminal terminal = look_at(STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw Error(std::string("no process can be started: ") + std::strerror(errno));
  if (child > 0) return child;
  ::setpgid(0, 0);
  ::setenv(kColumns, std::to_string(terminal.interactive ? terminal.width : 0).c_str(), 1);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(errors, STDERR_FILENO);
  ::execvp(words[0], words.data());
  ::_exit(127);
}

// Hands on what the ranks and mpirun write to stderr, without mpirun's own paragraphs, which stand
// between lines of dashes: they repeat what the ranks have said. What one of them says of a rank
// that a signal ended is said in our words. A line of progress, which is redrawn from its first
// column on, goes out before it ends.
class Relay {
 public:
  explicit Relay(int64_t ranks) : ranks_(ranks) {}

  void take(const char* text, size_t size) {
    rest_.append(text, size);
    for (size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
      line(rest_.substr(0, end + 1));
      rest_.erase(0, end + 1);
    }
    if (!inside_ && rest_.find('\r') != std::string::npos) put(std::exchange(rest_, ""));
  }
  void finish() { put(rest_); }

 private:
  void line(const std::string& text) {
    const size_t dashes = text.find_last_not_of("-\n") + 1;  // where a line of them begins
    if (text.size() - dashes > 40) {
      put(text.substr(0, dashes));
      inside_ = !inside_;
    } else if (!inside_) {
      if (!std::regex_search(text, kRepeats_)) put(text);
    } else if (std::smatch found; std::regex_search(text, found, kEnded_)) {
      if (last_ != '\n') put("\n");
      put("echo: error: rank " + found.str(1) + " was ended by signal " + found.str(2) +
          ", and the others with it; the last checkpoint is whole: go on with --resume --ranks " +
          std::to_string(ranks_) + "\n");
    }
  }

  void put(const std::string& text) {
    if (text.empty()) return;
    std::fputs(text.c_str(), stderr);
    last_ = text.back();
  }

  // "[host:1234] 3 more processes have sent help message ..", and how to see them.
  const std::regex kRepeats_{R"(^\[[^\]]*:\d+\] (\d+ more processes? ha|Set MCA parameter))"};
  const std::regex kEnded_{R"(process rank (\d+) with PID .* exited on signal (\d+))"};
  int64_t ranks_;
  std::string rest_;
  char last_ = '\n';
  bool inside_ = false;
};

void relay_errors(int descriptor, int64_t ranks) {
  Relay relay(ranks);
  std::array<char, 4096> text;
  while (true) {
    const ssize_t size = ::read(descriptor, text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return relay.finish();
    relay.take(text.data(), static_cast<size_t>(size));
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

constexpr const char* kEnd = "end";  // the ranks' exit code, in torchrun's store

// The agent's store outlives a restart of the ranks: each attempt has keys of its own.
c10::intrusive_ptr<c10d::Store> torchrun_store(const Launch& launch) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(number("MASTER_PORT"));
  // The agent holds the store where it says so; elsewhere the first rank does.
  options.isServer = variable("TORCHELASTIC_USE_AGENT_STORE") != "True" && launch.rank == 0;
  options.waitWorkers = false;
  const std::string attempt =
      "echo-" + variable("TORCHELASTIC_RUN_ID") + "-" + variable("TORCHELASTIC_RESTART_COUNT");
  return c10::make_intrusive<c10d::PrefixStore>(
      attempt, c10::make_intrusive<c10d::TCPStore>(variable("MASTER_ADDR"), options));
}

}  // namespace

Launch find_launch() {
  Launch launch;
  if (number("OMPI_COMM_WORLD_SIZE") > 0) {
    launch.by = Launch::By::mpirun;
    launch.rank = number("OMPI_COMM_WORLD_RANK");
    launch.ranks = number("OMPI_COMM_WORLD_SIZE");
    launch.on_host = std::max<int64_t>(1, number("OMPI_COMM_WORLD_LOCAL_SIZE"));
    launch.local_rank = std::max<int64_t>(0, number("OMPI_COMM_WORLD_LOCAL_RANK"));
    launch.columns = std::max<int64_t>(0, number(kColumns));
  } else if (number("WORLD_SIZE") > 0 && number("RANK") >= 0 && number("MASTER_PORT") > 0) {
    launch.by = Launch::By::torchrun;
    launch.rank = number("RANK");
    launch.ranks = number("WORLD_SIZE");
    launch.on_host = std::max<int64_t>(1, number("LOCAL_WORLD_SIZE"));
    launch.local_rank = std::max<int64_t>(0, number("LOCAL_RANK"));
  } else if (number("SLURM_PROCID") >= 0 && number("SLURM_STEP_NUM_TASKS") > 1) {
    launch.by = Launch::By::srun;
    launch.rank = number("SLURM_PROCID");
    launch.ranks = number("SLURM_STEP_NUM_TASKS");
    launch.on_host = std::max<int64_t>(1, number("SLURM_NTASKS_PER_NODE"));
    launch.local_rank = std::max<int64_t>(0, number("SLURM_LOCALID"));
  }
  launch.restarted = number("TORCHELASTIC_RESTART_COUNT") > 0 || number("SLURM_RESTART_COUNT") > 0;
  return launch;
}

int64_t threads_per_rank(int64_t ranks_on_host) {
  return std::max<int64_t>(1, cores() / std::max<int64_t>(1, ranks_on_host));
}

#ifdef ECHO_MPI

std::unique_ptr<Communicator> join_ranks(const Launch& launch) {
  std::unique_ptr<Communicator> ranks = mpi_communicator();
  if (ranks->size() == launch.ranks) return ranks;
  throw Error("srun started " + std::to_string(launch.ranks) + " tasks, and MPI sees " +
              std::to_string(ranks->size()) + "; start them with `srun --mpi=pmix`");
}

void abandon_ranks(int code) { abandon_mpi(code); }

std::string mpi_version() { return mpi_library(); }

#else

std::string mpi_version() { return ""; }

std::unique_ptr<Communicator> join_ranks(const Launch&) {
  throw Error(
      "this build has no MPI, which connects ranks; install the package libopenmpi-dev and build "
      "again, in a checkout with `rm -r build && ./echo`");
}

void abandon_ranks(int) {}

#endif

#ifdef ECHO_NCCL

std::string nccl_version() { return nccl_library(); }

namespace {

// The first rank's, which the others find through MPI.
c10::intrusive_ptr<c10d::Store> shared_store(Communicator& on_cpu) {
  c10d::TCPStoreOptions options;
  options.waitWorkers = false;
  std::array<char, 256> host{};
  const at::Tensor address = at::zeros({257}, at::kLong);
  c10::intrusive_ptr<c10d::TCPStore> store;
  if (on_cpu.rank() == 0) {
    ::gethostname(host.data(), host.size() - 1);
    options.port = 0;
    options.isServer = true;
    store = c10::make_intrusive<c10d::TCPStore>(host.data(), options);
    for (size_t i = 0; i < host.size(); ++i) address[static_cast<int64_t>(i)] = host[i];
    address[256] = static_cast<int64_t>(store->getPort());
  }
  on_cpu.broadcast(address, 0, "the store's address")->wait();
  if (on_cpu.rank() == 0) return store;
  for (size_t i = 0; i < host.size(); ++i)
    host[i] = static_cast<char>(address[static_cast<int64_t>(i)].item<int64_t>());
  options.port = static_cast<uint16_t>(address[256].item<int64_t>());
  return c10::make_intrusive<c10d::TCPStore>(host.data(), options);
}

}  // namespace

std::unique_ptr<Communicator> join_gpu_ranks(const Launch& launch, Communicator* on_cpu) {
  c10::intrusive_ptr<c10d::Store> store = on_cpu ? shared_store(*on_cpu) : torchrun_store(launch);
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(launch.local_rank));
  return nccl_communicator(std::move(store), launch.rank, launch.ranks, device);
}

#else

std::string nccl_version() { return ""; }

std::unique_ptr<Communicator> join_gpu_ranks(const Launch&, Communicator*) {
  throw Error(
      "this build has no CUDA; build one with `ECHO_CUDA=1 ./echo …`, or leave --device out");
}

#endif

int run_ranks(int64_t ranks, const std::vector<std::string>& arguments) {
#ifndef ECHO_MPI
  join_ranks({});
#endif
  std::array<int, 2> errors{};
  if (::pipe2(errors.data(), O_CLOEXEC) != 0)
    throw Error(std::string("no pipe can be made: ") + std::strerror(errno));
  launched = start(mpirun_command(ranks, arguments), errors[1]);
  ::close(errors[1]);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) std::signal(signal, hand_on);
  relay_errors(errors[0], ranks);
  const int code = wait_for(launched);
  ::close(errors[0]);
  launched = 0;
  if (code == 127)
    throw Error(
        "mpirun was not found; install the package libopenmpi-dev (it brings mpirun), or start the "
        "ranks yourself, with srun or torchrun");
  return code > 128 ? 1 : code;  // mpirun says so of a rank that a signal ended
}

int run_ranks_under_torchrun(const Launch& launch, const std::vector<std::string>& arguments) {
  if (launch.on_host != launch.ranks) {
    throw ConfigError("torchrun started ranks on several machines, and " +
                      std::to_string(launch.ranks) +
                      " ranks on CPUs find each other through MPI; start them with mpirun or srun, "
                      "or take GPUs with --device cuda");
  }
  const auto store = torchrun_store(launch);
  if (launch.rank == 0) {
    const int code = run_ranks(launch.ranks, arguments);
    store->set(kEnd, std::vector<uint8_t>{static_cast<uint8_t>(code)});
    std::this_thread::sleep_for(500ms);  // the others read it from the store that this one may hold
    return code;
  }
  // The agent signals every process; what to do about it is the first one's.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  while (!store->check({kEnd})) std::this_thread::sleep_for(200ms);
  return store->get(kEnd).front();
}

}  // namespace echo
