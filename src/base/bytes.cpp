#include <riffle/bytes.hpp>

#include <cstdlib>
#include <new>

namespace riffle {
inline namespace v1 {
namespace {

/// Bytes that stand right behind their block.
class CopiedBlock final : public Block {
 public:
  static CopiedBlock* make(std::size_t size) {
    void* memory = ::operator new(sizeof(CopiedBlock) + size);
    return new (memory) CopiedBlock;
  }
  std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }

 private:
  CopiedBlock() noexcept
      : Block([](Block* block) noexcept {
          auto* self = static_cast<CopiedBlock*>(block);
          self->~CopiedBlock();
          ::operator delete(self);
        }) {}
};

class AdoptedString final : public Block {
 public:
  explicit AdoptedString(std::string text) noexcept
      : Block([](Block* block) noexcept { delete static_cast<AdoptedString*>(block); }), text_(std::move(text)) {}
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

class LentMemory final : public Block {
 public:
  LentMemory(void (*release_user)(void*) noexcept, void* context) noexcept
      : Block([](Block* block) noexcept {
          auto* self = static_cast<LentMemory*>(block);
          const auto give_back = self->give_back_;
          void* const context_of_user = self->context_;
          delete self;
          if (give_back != nullptr) give_back(context_of_user);
        }),
        give_back_(release_user),
        context_(context) {}

 private:
  void (*give_back_)(void*) noexcept;
  void* context_;
};

}  // namespace

Bytes Bytes::copy(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  CopiedBlock* block = CopiedBlock::make(bytes.size());
  std::memcpy(block->data(), bytes.data(), bytes.size());
  return {block, block->data(), bytes.size()};
}

Bytes Bytes::adopt(std::string text) {
  if (text.empty()) return {};
  auto* block = new AdoptedString(std::move(text));
  return {block, reinterpret_cast<const std::byte*>(block->text().data()), block->text().size()};
}

Bytes Bytes::lend(const void* data, std::size_t size, void (*release)(void*) noexcept, void* context) {
  return {new LentMemory(release, context), static_cast<const std::byte*>(data), size};
}

}  // namespace v1
}  // namespace riffle
