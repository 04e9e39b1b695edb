#include "trainers/distributed/nccl_communicator.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <mutex>
#include <nccl.h>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace echo {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void check(ncclResult_t result, const std::string& what) {
  if (result != ncclSuccess && result != ncclInProgress)
    throw RanksFailed(what + " failed: " + ncclGetErrorString(result));
}

ncclDataType_t nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      ECHO_CHECK(tensor.scalar_type() == at::kBFloat16, << tensor.scalar_type());
      return ncclBfloat16;
  }
}

// What is under way, as the thread that looks after it sees it.
struct Underway {
  at::cuda::CUDAEvent end;
  std::string purpose;
  Clock::time_point begun;
  int64_t bytes = 0;
  int64_t number = 0;
};

// One NCCL communicator with its stream and the thread that looks after it.
class NcclGroup {
 public:
  NcclGroup(ncclComm_t communicator, c10::intrusive_ptr<c10d::Store> store, std::string name,
            int64_t rank, int64_t size, at::Device device)
      : communicator_(communicator),
        store_(std::move(store)),
        name_(std::move(name)),
        rank_(rank),
        size_(size),
        device_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())),
        thread_([this] { look_after(); }) {}

  ~NcclGroup() {
    over_ = true;
    thread_.join();
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) {
      ncclCommDestroy(communicator_);
    }
  }

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  at::Device device() const { return device_; }
  ncclComm_t communicator() const { return communicator_; }
  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }
  const std::string& name() const { return name_; }

  void limit(double seconds) { time_limit_ = seconds; }
  void record(Recorder* recorder) { recorder_ = recorder; }

  // Queues an operation behind what computes `tensor`.
  std::shared_ptr<Underway> run(const at::Tensor& tensor, const std::string& purpose,
                                const std::function<ncclResult_t(cudaStream_t)>& call) {
    throw_if_failed();
    const c10::cuda::CUDAGuard guard(device_.index());
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(stream_);
    c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(), stream_);
    auto underway = std::make_shared<Underway>();
    underway->purpose = purpose;
    underway->begun = Clock::now();
    underway->bytes = static_cast<int64_t>(tensor.nbytes());
    underway->number = ++started_;
    check(call(stream_.stream()), "'" + purpose + "'");
    underway->end.record(stream_);
    const std::lock_guard lock(mutex_);
    underway_.push_back(underway);
    return underway;
  }

  // On the computing stream; the host goes on.
  void wait(Underway& operation) {
    throw_if_failed();
    operation.end.block(c10::cuda::getCurrentCUDAStream(device_.index()));
  }

  // On the host.
  void wait_here(Underway& operation) {
    while (!operation.end.query()) {
      throw_if_failed();
      std::this_thread::sleep_for(20us);
    }
    throw_if_failed();
  }

 private:
  void throw_if_failed() {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) throw RanksFailed(failure_);
  }

  void look_after() {
    int64_t told = 0;
    while (!over_) {
      std::this_thread::sleep_for(20ms);
      if (const int64_t number = started_; number != told) tell(told = number);
      std::shared_ptr<Underway> first = forget_finished();
      if (first && Clock::now() - first->begun > std::chrono::duration<double>(time_limit_.load()))
        return give_up(*first);
    }
  }

  std::string key(int64_t rank) const { return "echo/" + name_ + "/" + std::to_string(rank); }

  // A store that is gone tells nothing; the operations' own end is what counts.
  void tell(int64_t number) {
    try {
      const std::string text = std::to_string(number);
      store_->set(key(rank_), std::vector<uint8_t>(text.begin(), text.end()));
    } catch (const std::exception&) {
    }
  }

  std::shared_ptr<Underway> forget_finished() {
    const std::lock_guard lock(mutex_);
    while (!underway_.empty() && underway_.front()->end.query()) {
      if (Recorder* recorder = recorder_) {
        const Underway& done = *underway_.front();
        recorder->exchanged(done.purpose, done.begun, Clock::now(), done.bytes);
      }
      underway_.pop_front();
    }
    return underway_.empty() ? nullptr : underway_.front();
  }

  void give_up(const Underway& operation) {
    const std::string text = find_out(operation);
    const std::lock_guard lock(mutex_);
    failure_ = text;
    ncclCommAbort(communicator_);  // its kernels leave the device
  }

  std::string find_out(const Underway& operation) {
    const std::string within =
        "' within " + std::to_string(std::llround(time_limit_.load())) + " s";
    for (int64_t rank = 0; rank < size_; ++rank) {
      if (rank == rank_) continue;
      try {
        int64_t number = 0;
        if (store_->check({key(rank)})) {
          const std::vector<uint8_t> text = store_->get(key(rank));
          number = std::stoll(std::string(text.begin(), text.end()));
        }
        if (number < operation.number)
          return "rank " + std::to_string(rank) + " has not come to '" + operation.purpose + within;
      } catch (const std::exception&) {
        return "'" + operation.purpose + "' did not end" + within.substr(1) +
               ", and the launcher's store does not answer";
      }
    }
    return "'" + operation.purpose + "' did not end" + within.substr(1) +
           " although every rank has come to it";
  }

  ncclComm_t communicator_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::string name_;
  int64_t rank_, size_;
  at::Device device_;
  c10::cuda::CUDAStream stream_;
  std::atomic<double> time_limit_ = 600;
  std::atomic<Recorder*> recorder_ = nullptr;
  std::atomic<int64_t> started_ = 0;
  std::atomic<bool> over_ = false;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Underway>> underway_;
  std::string failure_;
  std::thread thread_;
};

// Of a tensor that may live on the CPU: then it goes to the device, and comes back in wait().
class NcclPending final : public Pending {
 public:
  NcclPending(NcclGroup& group, std::shared_ptr<Underway> operation, at::Tensor tensor,
              at::Tensor on_device)
      : group_(group),
        operation_(std::move(operation)),
        tensor_(std::move(tensor)),
        on_device_(std::move(on_device)) {}

  void wait() override {
    if (tensor_.is_cuda()) return group_.wait(*operation_);
    group_.wait_here(*operation_);
    tensor_.copy_(on_device_);
  }

 private:
  NcclGroup& group_;
  std::shared_ptr<Underway> operation_;
  at::Tensor tensor_, on_device_;
};

class NcclCommunicator final : public Communicator {
 public:
  explicit NcclCommunicator(std::unique_ptr<NcclGroup> group) : group_(std::move(group)) {}

  int64_t rank() const override { return group_->rank(); }
  int64_t size() const override { return group_->size(); }

  std::unique_ptr<Pending> all_reduce(const at::Tensor& tensor,
                                      const std::string& purpose) override {
    count_ring(tensor, 2);
    return post(tensor, purpose, [this](const at::Tensor& values, cudaStream_t stream) {
      return ncclAllReduce(values.data_ptr(), values.data_ptr(), count_of(values),
                           nccl_type(values), ncclSum, group_->communicator(), stream);
    });
  }

  // Shares differ in size, so each goes to its owner by itself; NCCL runs them as one.
  std::unique_ptr<Pending> reduce_scatter(const at::Tensor& whole, const Shares& shares,
                                          const std::string& purpose) override {
    count_ring(whole, 1);
    return post(whole, purpose, [this, shares](const at::Tensor& values, cudaStream_t stream) {
      return for_each_share(values, shares, [&](void* share, size_t count, int owner) {
        return ncclReduce(share, share, count, nccl_type(values), ncclSum, owner,
                          group_->communicator(), stream);
      });
    });
  }

  std::unique_ptr<Pending> all_gather(const at::Tensor& whole, const Shares& shares,
                                      const std::string& purpose) override {
    count_ring(whole, 1);
    return post(whole, purpose, [this, shares](const at::Tensor& values, cudaStream_t stream) {
      return for_each_share(values, shares, [&](void* share, size_t count, int owner) {
        return ncclBroadcast(share, share, count, nccl_type(values), owner, group_->communicator(),
                             stream);
      });
    });
  }

  std::unique_ptr<Pending> broadcast(const at::Tensor& tensor, int64_t root,
                                     const std::string& purpose) override {
    if (rank() == root) count(static_cast<int64_t>(tensor.nbytes()));
    return post(tensor, purpose, [this, root](const at::Tensor& values, cudaStream_t stream) {
      return ncclBroadcast(values.data_ptr(), values.data_ptr(), count_of(values),
                           nccl_type(values), static_cast<int>(root), group_->communicator(),
                           stream);
    });
  }

  std::unique_ptr<Communicator> split(int64_t colour, const std::string& purpose) override {
    const c10::cuda::CUDAGuard guard(group_->device().index());
    ncclComm_t made = nullptr;
    int rank = 0, size = 1;
    check(ncclCommSplit(group_->communicator(), static_cast<int>(colour),
                        static_cast<int>(group_->rank()), &made, nullptr),
          "'" + purpose + "'");
    check(ncclCommUserRank(made, &rank), "'" + purpose + "'");
    check(ncclCommCount(made, &size), "'" + purpose + "'");
    return std::make_unique<NcclCommunicator>(std::make_unique<NcclGroup>(
        made, group_->store(), group_->name() + "." + std::to_string(colour), rank, size,
        group_->device()));
  }

  void limit(double seconds) override { group_->limit(seconds); }
  void record(Recorder* recorder) override { group_->record(recorder); }

 private:
  using Call = std::function<ncclResult_t(const at::Tensor&, cudaStream_t)>;

  static size_t count_of(const at::Tensor& tensor) { return static_cast<size_t>(tensor.numel()); }

  static ncclResult_t for_each_share(const at::Tensor& whole, const Shares& shares,
                                     const std::function<ncclResult_t(void*, size_t, int)>& call) {
    ncclResult_t result = ncclGroupStart();
    auto* place = static_cast<char*>(whole.data_ptr());
    for (size_t owner = 0; owner < shares.size() && result == ncclSuccess; ++owner) {
      const auto count = static_cast<size_t>(shares[owner]);
      if (count > 0) result = call(place, count, static_cast<int>(owner));
      place += count * whole.element_size();
    }
    const ncclResult_t end = ncclGroupEnd();
    return result == ncclSuccess ? end : result;
  }

  std::unique_ptr<Pending> post(const at::Tensor& tensor, const std::string& purpose,
                                const Call& call) {
    ECHO_CHECK(tensor.is_contiguous(), << purpose);
    const at::Tensor on_device = tensor.to(group_->device());
    auto operation = group_->run(on_device, purpose,
                                 [&](cudaStream_t stream) { return call(on_device, stream); });
    return std::make_unique<NcclPending>(*group_, std::move(operation), tensor, on_device);
  }

  std::unique_ptr<NcclGroup> group_;
};

constexpr const char* kIdentity = "echo/nccl";

}  // namespace

std::unique_ptr<Communicator> nccl_communicator(c10::intrusive_ptr<c10d::Store> store, int64_t rank,
                                                int64_t size, at::Device device) {
  const c10::cuda::CUDAGuard guard(device.index());
  ncclUniqueId identity;
  if (rank == 0) {
    check(ncclGetUniqueId(&identity), "ncclGetUniqueId");
    const auto* bytes = reinterpret_cast<const uint8_t*>(&identity);
    store->set(kIdentity, std::vector<uint8_t>(bytes, bytes + sizeof identity));
  }
  const std::vector<uint8_t> bytes = store->get(kIdentity);  // waits for the first rank
  ECHO_CHECK(bytes.size() == sizeof identity);
  std::memcpy(&identity, bytes.data(), sizeof identity);
  ncclComm_t communicator = nullptr;
  check(ncclCommInitRank(&communicator, static_cast<int>(size), identity, static_cast<int>(rank)),
        "ncclCommInitRank");
  return std::make_unique<NcclCommunicator>(
      std::make_unique<NcclGroup>(communicator, std::move(store), "world", rank, size, device));
}

std::string nccl_library() {
  int version = 0;
  check(ncclGetVersion(&version), "ncclGetVersion");
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace echo
