// Owned, reference-counted bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace riffle {
inline namespace v1 {

/// Purpose: the owner behind a `Bytes`. A block counts its references and is given back by `release_` when the last
/// one goes, on whichever thread that happens. Users meet it only through `Bytes`.
class Block {
 public:
  using Release = void (*)(Block*) noexcept;
  explicit Block(Release on_last) noexcept : release_(on_last) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // The only reference cannot be raced for: skip the locked decrement.
    if (references_.load(std::memory_order_acquire) == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      references_.store(1, std::memory_order_relaxed);
      release_(this);
    }
  }
  bool is_unique() const noexcept { return references_.load(std::memory_order_acquire) == 1; }

 protected:
  ~Block() = default;

 private:
  std::atomic<std::uint32_t> references_{1};
  Release release_;
};

/// Purpose: a slice of bytes that keeps its storage alive. Copying shares, it does not copy the bytes.
/// Threads: one Bytes object is used by one thread at a time; copies may live on any thread.
/// Lifetime: the view is valid while this object, or a copy of it, exists.
class Bytes {
 public:
  Bytes() noexcept = default;
  /// Takes over one reference to `owner`.
  Bytes(Block* owner, const std::byte* data, std::size_t size) noexcept : owner_(owner), data_(data), size_(size) {}
  Bytes(const Bytes& other) noexcept : owner_(other.owner_), data_(other.data_), size_(other.size_) {
    if (owner_) owner_->retain();
  }
  Bytes(Bytes&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Bytes() {
    if (owner_) owner_->release();
  }

  /// A copy of `bytes` in memory of its own.
  static Bytes copy(std::span<const std::byte> bytes);
  static Bytes copy(std::string_view text) { return copy(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Takes the string's storage over; nothing is copied.
  static Bytes adopt(std::string text);
  /// Lends memory of the caller's: `release(context)` runs once, when the last reference goes (on any thread).
  static Bytes lend(const void* data, std::size_t size, void (*release)(void*) noexcept, void* context);

  const std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  std::string_view view() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  /// The part [offset, offset + size) of these bytes; shares the storage. Clamped to what is there.
  Bytes slice(std::size_t offset, std::size_t size) const noexcept {
    if (offset > size_) offset = size_;
    if (size > size_ - offset) size = size_ - offset;
    if (owner_) owner_->retain();
    return {owner_, data_ + offset, size};
  }
  /// Whether this is the only reference to the storage.
  bool is_unique() const noexcept { return owner_ != nullptr && owner_->is_unique(); }
  /// Gives up the reference without releasing it; for riffle's own queues.
  Block* detach() noexcept {
    data_ = nullptr;
    size_ = 0;
    return std::exchange(owner_, nullptr);
  }

 private:
  Block* owner_ = nullptr;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace v1
}  // namespace riffle
