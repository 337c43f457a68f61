// ThreadSanitizer cannot see what the bridge does with our memory: it is told (facts: it is blind inside the bridge).
#pragma once

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define RIFFLE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RIFFLE_TSAN 1
#endif
#endif

#ifdef RIFFLE_TSAN
extern "C" void __tsan_read_range(void* address, unsigned long size);
extern "C" void __tsan_write_range(void* address, unsigned long size);
#endif

namespace riffle::quiche {

inline void tsan_reads([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t size) noexcept {
#ifdef RIFFLE_TSAN
  if (size != 0) __tsan_read_range(const_cast<void*>(address), size);
#endif
}

inline void tsan_writes([[maybe_unused]] void* address, [[maybe_unused]] std::size_t size) noexcept {
#ifdef RIFFLE_TSAN
  if (size != 0) __tsan_write_range(address, size);
#endif
}

}  // namespace riffle::quiche
