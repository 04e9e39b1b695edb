#include "tests/device/stand_in.h"

#include <mutex>
#include <set>
#include <stdexcept>
#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <sys/mman.h>

namespace echo {

namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;
const at::Device kDevice(kType, 0);

size_t in_pages(size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return std::max<size_t>(1, (bytes + page - 1) / page) * page;
}

// Memory in whole pages that nobody may read or write, but while a Door is open.
class HiddenMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const size_t size = in_pages(bytes) + in_pages(1);  // the size stands in a page before it
    void* const begin =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin == MAP_FAILED) throw std::bad_alloc();
    *static_cast<size_t*>(begin) = size;
    void* const data = static_cast<char*>(begin) + in_pages(1);
    ::mprotect(data, in_pages(bytes), PROT_NONE);
    return {data, data, &HiddenMemory::free, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &HiddenMemory::free; }
  void copy_data(void*, const void*, std::size_t) const override {
    throw std::logic_error("the stand-in copies tensors only");
  }
  static void free(void* data) {
    void* const begin = static_cast<char*>(data) - in_pages(1);
    ::munmap(begin, *static_cast<size_t*>(begin));
  }
};

HiddenMemory memory;
std::mutex doors;

// A tensor of the device, for the time of a copy, as one of the CPU.
class Door {
 public:
  explicit Door(const at::Tensor& tensor)
      : begin_(const_cast<void*>(tensor.storage().data())),
        bytes_(in_pages(tensor.storage().nbytes())) {
    if (tensor.numel() == 0) begin_ = nullptr;
    if (begin_) ::mprotect(begin_, bytes_, PROT_READ | PROT_WRITE);
    inside_ = at::from_blob(begin_ ? tensor.mutable_data_ptr() : nullptr, tensor.sizes(),
                            tensor.strides(), at::TensorOptions(tensor.scalar_type()));
  }
  ~Door() {
    if (begin_) ::mprotect(begin_, bytes_, PROT_NONE);
  }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  const at::Tensor& inside() const { return inside_; }

 private:
  void* begin_;
  size_t bytes_;
  at::Tensor inside_;
};

std::mutex traffic_mutex;
Traffic traffic;
thread_local int64_t falling_back = 0;  // what an operator does on the CPU is the device's work

void note(std::vector<std::string> Traffic::*list, const std::string& what) {
  const std::lock_guard lock(traffic_mutex);
  (traffic.*list).push_back(what);
}

// Operators without a result whose size the host knows: a GPU has to be asked for it.
bool asks_the_device(const std::string& name, const std::vector<at::Tensor>& inputs) {
  static const std::set<std::string> asking{
      "aten::nonzero",    "aten::masked_select",     "aten::equal",   "aten::_unique2",
      "aten::unique_dim", "aten::repeat_interleave", "aten::bincount"};
  if (asking.count(name)) return true;
  if (name != "aten::index" && name != "aten::index_put_" && name != "aten::_index_put_impl_")
    return false;
  for (size_t i = 1; i < inputs.size(); ++i) {
    if (inputs[i].scalar_type() == at::kBool) return true;
  }
  return false;
}

std::vector<at::Tensor> tensors_of(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  std::vector<at::Tensor> found;
  const size_t count = op.schema().arguments().size();
  for (size_t i = stack.size() - count; i < stack.size(); ++i) {
    const c10::IValue& value = stack[i];
    if (value.isTensor() && value.toTensor().defined()) found.push_back(value.toTensor());
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        if (tensor.defined()) found.push_back(tensor);
      }
    }
    if (value.isList() && !value.isTensorList()) {
      for (const c10::IValue& entry : value.toListRef()) {
        if (entry.isTensor() && entry.toTensor().defined()) found.push_back(entry.toTensor());
      }
    }
  }
  return found;
}

void fall_back(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string name = op.operator_name().name;
  const std::vector<at::Tensor> inputs = tensors_of(op, *stack);
  for (const at::Tensor& input : inputs) {
    if (input.is_cpu() && input.dim() > 0)
      throw std::runtime_error(name + " mixes tensors of the CPU and of a device");
  }
  if (asks_the_device(name, inputs)) note(&Traffic::waits, name);
  ++falling_back;
  try {
    at::native::cpu_fallback(op, stack);
  } catch (...) {
    --falling_back;
    throw;
  }
  --falling_back;
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  if (!falling_back && to.is_cpu()) note(&Traffic::waits, "copy to the host");
  // A number by itself goes along with the command that uses it.
  if (!falling_back && from.is_cpu() && from.dim() > 0) note(&Traffic::feeds, "copy to the device");
  const std::lock_guard lock(doors);
  std::optional<Door> source, target;
  if (!from.is_cpu()) source.emplace(from);
  if (!to.is_cpu() && !(source && to.is_alias_of(from))) target.emplace(to);
  at::Tensor whole = source ? source->inside() : from;
  if (source && from.is_conj()) whole = whole.conj();
  if (source && from.is_neg()) whole = whole.neg();
  if (target) {
    target->inside().copy_(whole);
  } else if (to.is_cpu()) {
    to.copy_(whole);
  } else {  // within one memory
    at::from_blob(to.mutable_data_ptr(), to.sizes(), to.strides(),
                  at::TensorOptions(to.scalar_type()))
        .copy_(whole);
  }
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar(const at::Tensor& tensor) {
  if (!falling_back) note(&Traffic::waits, "item");
  const std::lock_guard lock(doors);
  const Door door(tensor);
  return door.inside().item();
}

const at::Tensor& resize(const at::Tensor& self, at::IntArrayRef size,
                         std::optional<at::MemoryFormat>) {
  if (self.sizes() == size) return self;
  const at::Tensor other = at::empty(size, self.options());
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(other.storage());
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return self;
}

// One stream, on which all is done when it is asked for.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
};

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fall_back>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &local_scalar);
  library.impl("resize_", &resize);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("unfold", &at::native::unfold);
  library.impl("view_as_complex", &at::native::view_as_complex);
  library.impl("view_as_real", &at::native::view_as_real);
}

// Copies look at these marks of a tensor themselves.
TORCH_LIBRARY_IMPL(aten, Conjugate, library) {
  library.impl("_copy_from", torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, Negative, library) {
  library.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

}  // namespace

at::Device stand_in() {
  static const bool registered = [] {
    c10::register_privateuse1_backend("stand_in");
    c10::SetAllocator(kType, &memory);
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    return true;
  }();
  static_cast<void>(registered);
  return kDevice;
}

Traffic take_traffic() {
  const std::lock_guard lock(traffic_mutex);
  return std::exchange(traffic, {});
}

}  // namespace echo
