#include "tests/stress/call_counts.hpp"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);
}

namespace riffle::stress {
namespace {

enum Owner : std::uint8_t { ours, quiche, others, owners };

struct Range {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  Owner owner = others;
};

/// Executable parts of the objects that matter, found once before anything is counted.
std::array<Range, 16> ranges;
std::size_t range_count = 0;

std::atomic<bool> is_counting{false};
std::array<std::atomic<std::uint64_t>, owners> allocations;
std::array<std::atomic<std::uint64_t>, owners> locks;

struct Site {
  std::atomic<std::uintptr_t> address{0};
  std::atomic<std::uint64_t> calls{0};
};
std::array<Site, 256> sites;

Owner owner_of(std::uintptr_t address) noexcept {
  for (std::size_t i = 0; i < range_count; ++i) {
    if (address >= ranges[i].begin && address < ranges[i].end) return ranges[i].owner;
  }
  return others;
}

void note_site(std::uintptr_t address) noexcept {
  for (std::size_t i = 0; i < sites.size(); ++i) {
    Site& site = sites[(address / 4 + i) % sites.size()];
    std::uintptr_t free_place = 0;
    if (site.address.load() == address || site.address.compare_exchange_strong(free_place, address) ||
        free_place == address) {
      ++site.calls;
      return;
    }
  }
}

void count(std::array<std::atomic<std::uint64_t>, owners>& counters, const void* caller) noexcept {
  if (!is_counting.load(std::memory_order_relaxed)) return;
  const auto address = reinterpret_cast<std::uintptr_t>(caller);
  const Owner owner = owner_of(address);
  counters[owner].fetch_add(1, std::memory_order_relaxed);
  if (owner == ours) note_site(address);
}

int add_ranges(dl_phdr_info* info, std::size_t, void*) {
  const std::string_view name = info->dlpi_name != nullptr ? info->dlpi_name : "";
  Owner owner = others;
  if (name.empty() || name.find("libstdc++") != std::string_view::npos) owner = ours;
  if (name.find("libriffle_quiche") != std::string_view::npos) owner = quiche;
  if (name.find("linux-vdso") != std::string_view::npos || owner == others) return 0;
  for (int i = 0; i < info->dlpi_phnum && range_count < ranges.size(); ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    const std::uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    ranges[range_count++] = {begin, begin + part.p_memsz, owner};
  }
  return 0;
}

void* allocate(std::size_t size, const void* caller) noexcept {
  count(allocations, caller);
  return __libc_malloc(size != 0 ? size : 1);
}

}  // namespace

void start_counting() {
  if (range_count == 0) dl_iterate_phdr(add_ranges, nullptr);
  for (auto* counters : {&allocations, &locks}) {
    for (auto& counter : *counters) counter = 0;
  }
  for (Site& site : sites) {
    site.address = 0;
    site.calls = 0;
  }
  is_counting = true;
}

Counts stop_counting() {
  is_counting = false;
  return {.allocations = {allocations[ours], allocations[quiche], allocations[others]},
          .locks = {locks[ours], locks[quiche], locks[others]}};
}

std::string sites_of_ours() {
  std::string text;
  for (const Site& site : sites) {
    if (site.address.load() == 0) continue;
    char line[128];
    Dl_info info{};
    const void* address = reinterpret_cast<const void*>(site.address.load());
    const bool is_known = dladdr(address, &info) != 0;
    std::snprintf(line, sizeof line, "%8llu calls from 0x%zx of %s\n",
                  static_cast<unsigned long long>(site.calls.load()),
                  static_cast<std::size_t>(site.address.load() -
                                           (is_known ? reinterpret_cast<std::uintptr_t>(info.dli_fbase) : 0)),
                  is_known && info.dli_fname != nullptr ? info.dli_fname : "?");
    text += line;
  }
  return text;
}

}  // namespace riffle::stress

// ---- in the place of libc's and libstdc++'s own ------------------------------------------------------------------

using riffle::stress::allocate;
using riffle::stress::allocations;
using riffle::stress::count;

extern "C" {

void* malloc(std::size_t size) {
  count(allocations, __builtin_return_address(0));
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  count(allocations, __builtin_return_address(0));
  return __libc_calloc(number, size);
}
void* realloc(void* memory, std::size_t size) {
  count(allocations, __builtin_return_address(0));
  return __libc_realloc(memory, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  count(allocations, __builtin_return_address(0));
  *out = __libc_memalign(alignment, size);
  return *out != nullptr ? 0 : ENOMEM;
}
void free(void* memory) { __libc_free(memory); }

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static std::atomic<Lock> real{nullptr};
  Lock lock = real.load(std::memory_order_relaxed);
  if (lock == nullptr) {
    lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    real.store(lock, std::memory_order_relaxed);
  }
  count(riffle::stress::locks, __builtin_return_address(0));
  return lock(mutex);
}

}  // extern "C"

void* operator new(std::size_t size) {
  void* memory = allocate(size, __builtin_return_address(0));
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new[](std::size_t size) {
  void* memory = allocate(size, __builtin_return_address(0));
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, __builtin_return_address(0));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, __builtin_return_address(0));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  count(allocations, __builtin_return_address(0));
  void* memory = __libc_memalign(static_cast<std::size_t>(alignment), size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { __libc_free(memory); }
void operator delete[](void* memory) noexcept { __libc_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { __libc_free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { __libc_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { __libc_free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { __libc_free(memory); }
