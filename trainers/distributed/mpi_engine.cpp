#include "trainers/distributed/mpi_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>

#include <c10/util/BFloat16.h>

namespace echo {

namespace {

using namespace std::chrono_literals;

constexpr int kQuestion = 1, kAnswer = 2;
constexpr auto kPatience = 5s;  // for an answer

// Begun by this process and not yet ended; a process may do so once.
bool running = false;

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return {text.data(), static_cast<size_t>(length)};
}

void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw RanksFailed(std::string(call) + " failed: " + error_text(code));
}

void add_bfloat16(void* from, void* to, int* count, MPI_Datatype*) {
  const auto* a = static_cast<const c10::BFloat16*>(from);
  auto* b = static_cast<c10::BFloat16*>(to);
  for (int i = 0; i < *count; ++i) b[i] = static_cast<float>(a[i]) + static_cast<float>(b[i]);
}

MPI_Op bfloat16_sum() {
  static const MPI_Op operation = [] {
    MPI_Op made = MPI_OP_NULL;
    check(MPI_Op_create(add_bfloat16, /*commute=*/1, &made), "MPI_Op_create");
    return made;
  }();
  return operation;
}

// What a rank tells of itself: operations that it has started in a group, and the last one.
struct Progress {
  int64_t started = 0;
  std::array<char, 120> purpose{};
};

}  // namespace

MPI_Datatype mpi_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    default:
      ECHO_CHECK(tensor.scalar_type() == at::kBFloat16, << tensor.scalar_type());
      return MPI_UINT16_T;
  }
}

MPI_Op mpi_sum(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? bfloat16_sum() : MPI_SUM;
}

int whole_count(const at::Tensor& tensor) {
  ECHO_CHECK(tensor.numel() <= std::numeric_limits<int>::max());
  return static_cast<int>(tensor.numel());
}

void MpiOperation::wait() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [this] { return done; });
  if (!failure.empty()) throw RanksFailed(failure);
  if (finish) finish();
}

MpiEngine::MpiEngine() {
  int given = 0;
  ECHO_CHECK(!running);
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &given), "MPI_Init_thread");
  running = true;
  if (given < MPI_THREAD_SERIALIZED)
    throw Error("this MPI cannot be called by another thread than the first; Echo needs " +
                std::string("MPI_THREAD_SERIALIZED, which Open MPI gives"));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int rank = 0, size = 1;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &world_.communicator), "MPI_Comm_dup");
  check(MPI_Comm_dup(MPI_COMM_WORLD, &control_), "MPI_Comm_dup");
  MPI_Comm_rank(world_.communicator, &rank);
  MPI_Comm_size(world_.communicator, &size);
  world_.rank = rank;
  world_.size = size;
  for (int64_t member = 0; member < size; ++member) world_.members.push_back(member);
  started_.resize(1);
  last_purposes_.resize(1);
  thread_ = std::thread([this] { work(); });
}

// After a failure, here or elsewhere, the others may be gone, and a proper end would wait for them:
// whoever handles the failure calls abandon_mpi().
MpiEngine::~MpiEngine() {
  const bool is_failing = std::uncaught_exceptions() > 0;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    abandoned_ = is_failing;
  }
  changed_.notify_all();
  thread_.join();
  if (is_failing || !broken_.empty()) return;
  MPI_Finalize();
  running = false;
}

void abandon_mpi(int code) {
  int size = 1;
  if (!running) return;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size > 1) MPI_Abort(MPI_COMM_WORLD, code);
}

// Made on the engine's thread, like all else; the new group is known to it from then on.
MpiGroup MpiEngine::split(const MpiGroup& group, int64_t colour, const std::string& purpose) {
  MpiGroup made;
  made.index = groups_++;
  std::vector<int> members;
  auto operation = std::make_shared<MpiOperation>();
  operation->group = group;
  operation->purpose = purpose;
  operation->start = [&](MPI_Request* request) {
    int rank = 0, size = 1, world_rank = static_cast<int>(world_.rank);
    int code = MPI_Comm_split(group.communicator, static_cast<int>(colour),
                              static_cast<int>(group.rank), &made.communicator);
    if (code != MPI_SUCCESS) return code;
    MPI_Comm_rank(made.communicator, &rank);
    MPI_Comm_size(made.communicator, &size);
    made.rank = rank;
    made.size = size;
    members.resize(static_cast<size_t>(size));
    started_.resize(static_cast<size_t>(groups_));
    last_purposes_.resize(static_cast<size_t>(groups_));
    *request = MPI_REQUEST_NULL;
    return MPI_Allgather(&world_rank, 1, MPI_INT, members.data(), 1, MPI_INT, made.communicator);
  };
  post(operation);
  operation->wait();
  made.members.assign(members.begin(), members.end());
  return made;
}

void MpiEngine::post(const std::shared_ptr<MpiOperation>& operation) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(operation);
  }
  changed_.notify_all();
}

// Polls while operations are under way: nobody else drives MPI on. It gives the core away between
// two looks, since the trainer's threads may need it.
void MpiEngine::work() {
  auto last_change = Clock::now();
  while (true) {
    std::vector<std::shared_ptr<MpiOperation>> fresh;
    {
      std::unique_lock lock(mutex_);
      if (active_.empty() && posted_.empty() && !stopping_) changed_.wait_for(lock, 50ms);
      fresh.assign(posted_.begin(), posted_.end());
      posted_.clear();
      if (abandoned_ || (stopping_ && fresh.empty() && active_.empty())) return;
    }
    for (const auto& operation : fresh) start(operation);
    if (test_all() || !fresh.empty()) last_change = Clock::now();
    answer_questions();
    look_for_late_ranks();
    if (!active_.empty()) {
      if (Clock::now() - last_change < 100us) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(50us);
      }
    }
  }
}

void MpiEngine::start(const std::shared_ptr<MpiOperation>& operation) {
  const auto group = static_cast<size_t>(operation->group.index);
  operation->number = ++started_[group];
  last_purposes_[group] = operation->purpose;
  operation->begun = Clock::now();
  if (!broken_.empty()) return complete(*operation, broken_);
  const int code = operation->start(&operation->request);
  if (code != MPI_SUCCESS) {
    return complete(*operation, "'" + operation->purpose + "' failed: " + error_text(code));
  }
  active_.push_back(operation);
}

bool MpiEngine::test_all() {
  const size_t before = active_.size();
  std::erase_if(active_, [this](const std::shared_ptr<MpiOperation>& operation) {
    int is_done = 0;
    const int code = MPI_Test(&operation->request, &is_done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) {
      complete(*operation, "'" + operation->purpose + "' failed: " + error_text(code));
      return true;
    }
    if (is_done) complete(*operation, "");
    return is_done != 0;
  });
  return active_.size() != before;
}

void MpiEngine::complete(MpiOperation& operation, const std::string& failure) {
  if (!failure.empty() && broken_.empty()) broken_ = failure;
  if (Recorder* recorder = recorder_)
    recorder->exchanged(operation.purpose, operation.begun, Clock::now(), operation.bytes);
  const std::lock_guard lock(operation.mutex);
  operation.failure = failure;
  operation.done = true;
  operation.changed.notify_all();
}

// "How far are you in group g?" A process that is stopped, or gone, does not answer.
void MpiEngine::answer_questions() {
  while (true) {
    int asked = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kQuestion, control_, &asked, &status) != MPI_SUCCESS || !asked)
      return;
    int64_t group = 0;
    MPI_Recv(&group, 1, MPI_INT64_T, status.MPI_SOURCE, kQuestion, control_, MPI_STATUS_IGNORE);
    Progress progress;
    if (group < static_cast<int64_t>(started_.size())) {
      progress.started = started_[static_cast<size_t>(group)];
      last_purposes_[static_cast<size_t>(group)].copy(progress.purpose.data(),
                                                      progress.purpose.size() - 1);
    }
    MPI_Send(&progress, sizeof progress, MPI_BYTE, status.MPI_SOURCE, kAnswer, control_);
  }
}

void MpiEngine::look_for_late_ranks() {
  const auto limit = std::chrono::duration<double>(time_limit_.load());
  for (const auto& operation : active_) {
    if (Clock::now() - operation->begun < limit) continue;
    return fail_all(find_out(*operation));
  }
}

struct MpiEngine::Inquiry {
  int64_t rank = 0;  // in the world
  int64_t group = 0;
  Progress progress;
  MPI_Request question = MPI_REQUEST_NULL, answer = MPI_REQUEST_NULL;
  bool is_answered = false;
};

std::string MpiEngine::find_out(const MpiOperation& operation) {
  std::deque<Inquiry> inquiries;  // their addresses stay
  for (const int64_t member : operation.group.members) {
    if (member == world_.rank) continue;
    Inquiry& inquiry = inquiries.emplace_back();
    inquiry.rank = member;
    inquiry.group = operation.group.index;
    const int peer = static_cast<int>(member);
    MPI_Irecv(&inquiry.progress, sizeof(Progress), MPI_BYTE, peer, kAnswer, control_,
              &inquiry.answer);
    MPI_Isend(&inquiry.group, 1, MPI_INT64_T, peer, kQuestion, control_, &inquiry.question);
  }
  const auto end = Clock::now() + kPatience;
  bool is_missing = true;
  while (is_missing && Clock::now() < end) {
    is_missing = false;
    for (Inquiry& inquiry : inquiries) {
      int is_done = 0;
      if (!inquiry.is_answered && MPI_Test(&inquiry.answer, &is_done, MPI_STATUS_IGNORE) == 0)
        inquiry.is_answered = is_done != 0;
      is_missing = is_missing || !inquiry.is_answered;
    }
    answer_questions();  // the others may ask just now
    std::this_thread::sleep_for(1ms);
  }
  for (const Inquiry& inquiry : inquiries) {
    if (!inquiry.is_answered) return verdict(operation, inquiry);
  }
  for (const Inquiry& inquiry : inquiries) {
    if (inquiry.progress.started < operation.number) return verdict(operation, inquiry);
  }
  return "'" + operation.purpose + "' did not end within " +
         std::to_string(std::llround(time_limit_.load())) +
         " s although every rank has come to it: the network between them hardly moves";
}

std::string MpiEngine::verdict(const MpiOperation& operation, const Inquiry& inquiry) const {
  const std::string begin = "rank " + std::to_string(inquiry.rank) + " has not come to '" +
                            operation.purpose + "' within " +
                            std::to_string(std::llround(time_limit_.load())) + " s";
  if (!inquiry.is_answered)
    return begin + " and does not answer: its process has stopped, or its machine is gone";
  if (inquiry.progress.started == 0) return begin + "; it has not begun";
  return begin + "; it lives and is busy after '" + std::string(inquiry.progress.purpose.data()) +
         "'";
}

void MpiEngine::fail_all(const std::string& reason) {
  for (const auto& operation : active_) complete(*operation, reason);
  active_.clear();
}

}  // namespace echo
