// Scratch memory that is kept between calls, and the loop over blocks of rows.
#pragma once
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "vector.h"
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
INLINE int thread_number() { return omp_get_thread_num(); }
#else
INLINE int thread_number() { return 0; }
#endif

// Fresh pages cost more than the arithmetic done on them, so freed blocks wait for the next
// call; at most KEPT bytes of them.
namespace pool {
struct Block {
    char* data;
    size_t bytes;
};
constexpr size_t KEPT = size_t(256) << 20;
inline std::mutex lock;
inline std::vector<Block> blocks;
inline size_t total = 0;

inline Block take(size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    size_t best = blocks.size();
    for (size_t i = 0; i < blocks.size(); i++)
        if (blocks[i].bytes >= bytes && blocks[i].bytes <= 2 * bytes + 65536 &&
            (best == blocks.size() || blocks[i].bytes < blocks[best].bytes))
            best = i;
    if (best < blocks.size()) {
        Block found = blocks[best];
        blocks.erase(blocks.begin() + best);
        total -= found.bytes;
        return found;
    }
    size_t page = bytes >= (4u << 20) ? size_t(2) << 20 : 4096;
    size_t rounded = (bytes + page - 1) / page * page;
    char* data = (char*)aligned_alloc(page, rounded);
    if (!data) throw std::bad_alloc();
#if defined(__linux__)
    if (page > 4096) madvise(data, rounded, MADV_HUGEPAGE);
#endif
    return {data, rounded};
}
inline void give(Block block) {
    std::lock_guard<std::mutex> guard(lock);
    blocks.push_back(block);
    for (total += block.bytes; total > KEPT; blocks.erase(blocks.begin())) {
        total -= blocks.front().bytes;
        free(blocks.front().data);
    }
}
}  // namespace pool

template <class T> struct Scratch {
    pool::Block block;
    T* data;
    explicit Scratch(long count) : block(pool::take(count * sizeof(T) + 64)) {
        data = (T*)block.data;
    }
    ~Scratch() { pool::give(block); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
};

// One block of scratch per thread, rows of T, each a whole number of cache lines long.
template <class T> struct PerThread {
    long count;
    Scratch<T> all;
    PerThread(int threads, long count_)
        : count((count_ * (long)sizeof(T) + 127) / 128 * 128 / (long)sizeof(T)),
          all(count * threads) {}
    T* mine() const { return all.data + count * thread_number(); }
};

// Rows are independent of each other, so a block of them runs through all of time without
// meeting another thread. How rows are cut into blocks never touches their arithmetic.
constexpr long MOST_ROWS = 32;
INLINE long blocks_of(long rows, int threads) {
    if (!rows) return 1;
    long wanted = (rows + MOST_ROWS - 1) / MOST_ROWS;
    long even = 2 * threads < rows ? 2 * threads : rows;
    return wanted <= even ? even : (wanted + threads - 1) / threads * threads;
}
template <class F> void over_rows(long rows, int threads, F f) {
    long n = blocks_of(rows, threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (long i = 0; i < n; i++) f(rows * i / n, rows * (i + 1) / n);
}
template <class F> void over_items(long n, int threads, F f) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (long i = 0; i < n; i++) f(i);
}
