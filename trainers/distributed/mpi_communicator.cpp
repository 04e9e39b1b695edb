#include "trainers/distributed/mpi_communicator.h"

#include "trainers/distributed/mpi_engine.h"

#include <array>
#include <limits>

#include <ATen/ATen.h>

namespace echo {

namespace {

class MpiPending final : public Pending {
 public:
  // `keep`: what the operation reads or writes, or is described by.
  MpiPending(std::shared_ptr<MpiOperation> operation, at::Tensor tensor)
      : operation_(std::move(operation)), tensor_(std::move(tensor)) {}
  void wait() override { operation_->wait(); }

 private:
  std::shared_ptr<MpiOperation> operation_;
  at::Tensor tensor_;
};

// Counts and places of shares, as MPI wants them.
struct Layout {
  explicit Layout(const Shares& shares) {
    int64_t place = 0;
    for (const int64_t share : shares) {
      ECHO_CHECK(place + share <= std::numeric_limits<int>::max());
      counts.push_back(static_cast<int>(share));
      places.push_back(static_cast<int>(place));
      place += share;
    }
    total = place;
  }
  std::vector<int> counts, places;
  int64_t total = 0;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiEngine> engine, MpiGroup group)
      : engine_(std::move(engine)), group_(group) {}

  int64_t rank() const override { return group_.rank; }
  int64_t size() const override { return group_.size; }

  std::unique_ptr<Pending> all_reduce(const at::Tensor& tensor,
                                      const std::string& purpose) override {
    count_ring(tensor, 2);
    return post(tensor, purpose, [group = group_, tensor](MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), whole_count(tensor), mpi_type(tensor),
                            mpi_sum(tensor), group.communicator, request);
    });
  }

  std::unique_ptr<Pending> reduce_scatter(const at::Tensor& whole, const Shares& shares,
                                          const std::string& purpose) override {
    count_ring(whole, 1);
    const auto layout = std::make_shared<Layout>(shares);
    ECHO_CHECK(layout->total == whole.numel());
    const int64_t own = layout->places[static_cast<size_t>(rank())];
    // MPI leaves the own share at the beginning; it belongs in its place.
    const at::Tensor result = at::empty({shares[static_cast<size_t>(rank())]}, whole.options());
    return post(
        whole, purpose,
        [group = group_, whole, result, layout](MPI_Request* request) {
          return MPI_Ireduce_scatter(whole.data_ptr(), result.data_ptr(), layout->counts.data(),
                                     mpi_type(whole), mpi_sum(whole), group.communicator, request);
        },
        [whole, result, own] { whole.narrow(0, own, result.numel()).copy_(result); });
  }

  std::unique_ptr<Pending> all_gather(const at::Tensor& whole, const Shares& shares,
                                      const std::string& purpose) override {
    count_ring(whole, 1);
    const auto layout = std::make_shared<Layout>(shares);
    ECHO_CHECK(layout->total == whole.numel());
    return post(whole, purpose, [group = group_, whole, layout](MPI_Request* request) {
      return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, whole.data_ptr(),
                             layout->counts.data(), layout->places.data(), mpi_type(whole),
                             group.communicator, request);
    });
  }

  std::unique_ptr<Pending> broadcast(const at::Tensor& tensor, int64_t root,
                                     const std::string& purpose) override {
    if (rank() == root) count(static_cast<int64_t>(tensor.nbytes()));
    return post(tensor, purpose, [group = group_, tensor, root](MPI_Request* request) {
      return MPI_Ibcast(tensor.data_ptr(), whole_count(tensor), mpi_type(tensor),
                        static_cast<int>(root), group.communicator, request);
    });
  }

  void limit(double seconds) override { engine_->limit(seconds); }
  void record(Recorder* recorder) override { engine_->record(recorder); }

  std::unique_ptr<Communicator> split(int64_t colour, const std::string& purpose) override {
    return std::make_unique<MpiCommunicator>(engine_, engine_->split(group_, colour, purpose));
  }

 private:
  std::unique_ptr<Pending> post(const at::Tensor& tensor, const std::string& purpose,
                                MpiOperation::Start start, std::function<void()> finish = {}) {
    ECHO_CHECK(tensor.is_contiguous() && tensor.is_cpu(), << purpose);
    auto operation = std::make_shared<MpiOperation>();
    operation->group = group_;
    operation->purpose = purpose;
    operation->bytes = static_cast<int64_t>(tensor.nbytes());
    operation->start = std::move(start);
    operation->finish = std::move(finish);
    engine_->post(operation);
    return std::make_unique<MpiPending>(std::move(operation), tensor);
  }

  std::shared_ptr<MpiEngine> engine_;
  MpiGroup group_;
};

}  // namespace

std::unique_ptr<Communicator> mpi_communicator() {
  auto engine = std::make_shared<MpiEngine>();
  const MpiGroup world = engine->world();
  return std::make_unique<MpiCommunicator>(std::move(engine), world);
}

// Of "Open MPI v4.1.4, package: Debian OpenMPI, ident: ..." the beginning.
std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int size = 0;
  MPI_Get_library_version(text.data(), &size);
  const std::string whole(text.data());
  return whole.substr(0, whole.find(','));
}

}  // namespace echo
