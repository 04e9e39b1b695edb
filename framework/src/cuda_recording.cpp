// Built with CUDA only.
#include "framework/src/cuda_recording.h"

#include "framework/src/out_of_memory.h"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <spdlog/spdlog.h>

namespace echo {

namespace {

class CudaGraph final : public Recording {
 public:
  void record(at::Device device, const std::function<void()>& work) {
    const c10::cuda::CUDAStream own = c10::cuda::getStreamFromPool(false, device.index());
    at::cuda::CUDAEvent before;
    before.record(c10::cuda::getCurrentCUDAStream(device.index()));
    before.block(own);
    const c10::cuda::CUDAStreamGuard guard(own);
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      leave();
      throw;
    }
    graph_.capture_end();
  }

  void replay() override { graph_.replay(); }

 private:
  // A capture that has failed says so once more when it ends.
  void leave() noexcept {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      static_cast<void>(cudaGetLastError());
    }
  }

  at::cuda::CUDAGraph graph_;
};

}  // namespace

WorkRecorder cuda_recorder(at::Device device) {
  return [device](const std::function<void()>& work) -> std::unique_ptr<Recording> {
    const c10::cuda::CUDAGuard guard(device);
    auto graph = std::make_unique<CudaGraph>();
    try {
      graph->record(device, work);
    } catch (const c10::Error& failure) {
      if (is_out_of_memory(failure)) throw;
      spdlog::warn("decodes without a CUDA graph: {}", first_line(failure));
      return nullptr;
    }
    return graph;
  };
}

}  // namespace echo
