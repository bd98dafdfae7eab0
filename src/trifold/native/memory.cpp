/* Memory for torch's tensors that is kept when they are freed, and given to the next that fits.

   A training step frees and takes the same tensors again and again. glibc gives large blocks back to the system, and each
   page of them must then be fetched and zeroed anew; told to keep them it cuts them up, since it looks for a block of the
   wanted size and its alignment beside each other (its bug 14581, mended in 2.38), and grows by a tenth of a step each step.

   Blocks of LEAST bytes and more come in sizes at most a sixteenth apart, go back to where others of their size wait, and
   serve whoever wants up to a third less. What is in use and what waits together stays below 3/2 of the most that was ever in
   use, and SPARE bytes above it: where a new block would go beyond that, one up to four times as large serves, and then the
   sizes that were asked for longest ago go back to the system. */

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

namespace {

constexpr size_t HEAD = 64, LEAST = size_t{1} << 16; /* a block begins with its size, then its alignment */
constexpr size_t SPARE = size_t{1} << 27;

struct Shelf {
  std::vector<char *> blocks;
  uint64_t asked = 0;
};

struct Store {
  std::mutex lock;
  std::map<size_t, Shelf> shelves;
  size_t used = 0, most = 0, waiting = 0;
  uint64_t time = 0;
  int keepers = 0; /* who asked for it and has not let go; without any, nothing waits */
};

Store &store() {
  static auto *made = new Store; /* never taken apart: tensors are freed until the process ends */
  return *made;
}

size_t &size_of(char *block) { return *reinterpret_cast<size_t *>(block); }

/* Of a block for so many bytes. */
size_t block_size(size_t bytes) {
  size_t step = LEAST / 16;
  while (step * 32 < bytes) step *= 2;
  return (bytes + step - 1) / step * step + HEAD;
}

size_t limit_of(const Store &held) { return held.keepers ? held.most + std::min(held.most / 2, SPARE) : held.used; }

void shrink(Store &held) {
  while (held.waiting && held.used + held.waiting > limit_of(held)) {
    auto oldest = held.shelves.end();
    for (auto at = held.shelves.begin(); at != held.shelves.end(); ++at)
      if (!at->second.blocks.empty() && (oldest == held.shelves.end() || at->second.asked < oldest->second.asked)) oldest = at;
    munmap(oldest->second.blocks.back(), oldest->first);
    oldest->second.blocks.pop_back();
    held.waiting -= oldest->first;
  }
}

/* A block that waits, of `size` to `most` bytes. */
char *reuse(Store &held, size_t size, size_t most) {
  for (auto at = held.shelves.lower_bound(size); at != held.shelves.end() && at->first <= most; ++at) {
    if (at->second.blocks.empty()) continue;
    char *block = at->second.blocks.back();
    at->second.blocks.pop_back();
    held.waiting -= at->first;
    return block;
  }
  return nullptr;
}

char *take(size_t size) {
  Store &held = store();
  std::lock_guard<std::mutex> guard(held.lock);
  held.shelves[size].asked = ++held.time;
  char *block = reuse(held, size, size + size / 2);
  if (!block && held.used + held.waiting + size > limit_of(held)) block = reuse(held, size, 4 * size);
  if (!block) {
    void *made = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) return nullptr;
    block = static_cast<char *>(made);
    size_of(block) = size;
  }
  held.used += size_of(block);
  if (held.used > held.most) held.most = held.used;
  shrink(held);
  return block;
}

void give(void *data) {
  if (!data) return;
  char *block = static_cast<char *>(data) - HEAD;
  size_t size = size_of(block);
  if (size < LEAST + HEAD) return std::free(block);
  Store &held = store();
  std::lock_guard<std::mutex> guard(held.lock);
  held.shelves[size].blocks.push_back(block);
  held.used -= size;
  held.waiting += size;
  shrink(held);
}

struct Keeper final : c10::Allocator {
  c10::Allocator *before = nullptr;

  c10::DataPtr allocate(size_t bytes) override {
    char *block = nullptr;
    size_t size = bytes + HEAD;
    if (bytes && bytes < LEAST) {
      if (posix_memalign(reinterpret_cast<void **>(&block), HEAD, size)) block = nullptr;
    } else if (bytes && bytes < SIZE_MAX / 2) {
      block = take(block_size(bytes));
      size = block ? size_of(block) : 0;
    }
    if (!block) return before->allocate(bytes); /* nothing to hold, or no memory left: its own words for that */
    size_of(block) = size;
    return {block + HEAD, block + HEAD, &give, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give; }

  void copy_data(void *to, const void *from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

Keeper *keeper() {
  static auto *made = new Keeper;
  return made;
}

}  // namespace

/* From now on torch's tensors on the CPU come from here; those that are there already go back to where they came from. */
extern "C" void keep_memory() {
  Store &held = store();
  std::lock_guard<std::mutex> guard(held.lock);
  if (held.keepers++) return;
  keeper()->before = c10::GetCPUAllocator();
  c10::SetCPUAllocator(keeper(), /*priority=*/1);
}

/* Undo one call of `keep_memory`. With the last one, new tensors come from where they came from before, what waits goes
   back to the system, and so does what tensors from here hold, when they are freed. */
extern "C" void release_memory() {
  Store &held = store();
  std::lock_guard<std::mutex> guard(held.lock);
  if (--held.keepers) return;
  if (c10::GetCPUAllocator() == keeper()) c10::SetCPUAllocator(keeper()->before, /*priority=*/1);
  shrink(held);
  held.most = held.used;
}

/* Bytes in use, the most there ever were, and bytes that wait. */
extern "C" void report_memory(size_t *found) {
  Store &held = store();
  std::lock_guard<std::mutex> guard(held.lock);
  found[0] = held.used;
  found[1] = held.most;
  found[2] = held.waiting;
}
