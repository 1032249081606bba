// Runs CUDA kernels on the CPU, one fiber for each CUDA thread of a block.
//
// The kernels' own text follows this header in one translation unit. A fiber runs until it waits
// at a barrier (a shuffle is one too); then another runs. The order in which fibers and blocks run
// is the `schedule`: 0 forwards, 1 backwards, else shuffled anew in each round by that seed. Code
// that lacks a barrier gives other results under another schedule.
//
// What is checked: all threads of a block (of a warp) come to the same barrier, the same line of
// the same file, and none has ended before. Shared memory is filled with 0xFF (NaN) for every
// block.
//
// What is not: speed, and races that no order of whole stretches between barriers brings out.
// Blocks run one after another, so waiting for another block hangs here as it may on a GPU.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
// Shared variables lie in a section of their own, so that it can be wiped for every block.
#define __shared__ static __attribute__((section("cuda_shared"), used))
extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace emulator {

constexpr unsigned WARP_SIZE = 32;
constexpr std::size_t STACK_BYTES = 64 * 1024;
constexpr unsigned char POISON = 0xFF;

struct Index {
    unsigned x = 1, y = 1, z = 1;
};

struct Barrier {
    unsigned expected = 0, arrived = 0, round = 0;
    const char* file = "";
    int line = 0;
};

struct Warp {
    Barrier barrier;
    unsigned char exchange[2][WARP_SIZE][8];  // of this shuffle and of the one before
};

struct Fiber {
    std::unique_ptr<char[]> stack;
    ucontext_t start;  // enters the fiber for the first time; from then on `state` does,
    jmp_buf state;     // because swapcontext makes a system call each time
    bool started = false;
    Index thread;
    unsigned lane = 0;
    Warp* warp = nullptr;
    bool done = false;
    const Barrier* waiting = nullptr;  // where it waits, since which round
    unsigned since = 0;
};

// One launch at a time; the state is global because kernels reach it through plain names.
inline std::mutex one_launch;
inline jmp_buf scheduler;
inline Fiber* current = nullptr;
inline Index grid_size, block_size, block_index;
inline Barrier block_barrier;
inline std::vector<Warp> warps;
inline std::vector<unsigned char> dynamic_memory;
inline std::string failure;
inline const void* kernel_arguments = nullptr;
inline void (*kernel_body)(const void*) = nullptr;

// Both functions keep no variables across the jump.
__attribute__((noinline)) inline void back_to_scheduler()
{
    if (_setjmp(current->state) == 0)
        _longjmp(scheduler, 1);
}

__attribute__((noinline)) inline void resume(Fiber& fiber)
{
    current = &fiber;
    if (_setjmp(scheduler) != 0)
        return;
    if (current->started)
        _longjmp(current->state, 1);
    current->started = true;
    setcontext(&current->start);
}

// A fiber serves one thread of block after block.
inline void serve()
{
    for (;;) {
        kernel_body(kernel_arguments);
        current->done = true;
        back_to_scheduler();
    }
}

inline void wait_at(Barrier& barrier, const char* file, int line)
{
    if (barrier.arrived == 0) {
        barrier.file = file;
        barrier.line = line;
    } else if (barrier.line != line || std::strcmp(barrier.file, file) != 0) {
        failure = "divergent barrier: some threads wait at " + std::string(barrier.file) + ":"
                + std::to_string(barrier.line) + ", others at " + file + ":" + std::to_string(line);
        back_to_scheduler();  // and never again
    }
    if (++barrier.arrived == barrier.expected) {
        barrier.arrived = 0;
        ++barrier.round;
        return;
    }
    current->waiting = &barrier;
    current->since = barrier.round;
    back_to_scheduler();
}

inline void wait_for_block(const char* file, int line) { wait_at(block_barrier, file, line); }

inline void wait_for_warp(unsigned mask, const char* file, int line)
{
    if (mask != 0xFFFFFFFFu) {
        failure = std::string(file) + ":" + std::to_string(line) + ": only full masks are emulated";
        back_to_scheduler();
    }
    wait_at(current->warp->barrier, file, line);
}

// Every lane shows `value`; each gets that of lane `source`. The next shuffle uses the other half
// of the exchange, so that one wait is enough: nobody is ahead by two.
template <typename T>
T shuffle(unsigned mask, T value, unsigned source, const char* file, int line)
{
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    Warp& warp = *current->warp;
    auto& exchange = warp.exchange[warp.barrier.round % 2];
    std::memcpy(exchange[current->lane], &value, sizeof value);
    wait_for_warp(mask, file, line);
    std::memcpy(&value, exchange[source % WARP_SIZE], sizeof value);
    return value;
}

// The dynamic shared memory of the block: DYNAMIC_SHARED in kernels.
template <typename T>
T* dynamic_shared()
{
    return reinterpret_cast<T*>(dynamic_memory.data());
}

inline void prepare_block(std::vector<Fiber>& fibers, unsigned threads)
{
    std::memset(__start_cuda_shared, POISON, std::size_t(__stop_cuda_shared - __start_cuda_shared));
    std::fill(dynamic_memory.begin(), dynamic_memory.end(), POISON);
    block_barrier = Barrier{threads};
    warps.assign((threads + WARP_SIZE - 1) / WARP_SIZE, Warp{});
    for (unsigned t = 0; t < threads; ++t) {
        Fiber& fiber = fibers[t];
        const unsigned rest = t / block_size.x;
        fiber.thread = Index{t % block_size.x, rest % block_size.y, rest / block_size.y};
        fiber.lane = t % WARP_SIZE;
        fiber.warp = &warps[t / WARP_SIZE];
        fiber.warp->barrier.expected += 1;
        fiber.done = false;
        fiber.waiting = nullptr;
    }
}

// Runs the fibers until all are done, or none can go on.
inline void run_block(std::vector<Fiber>& fibers, unsigned threads, unsigned schedule,
                      std::mt19937& random)
{
    std::vector<unsigned> order(threads);
    for (unsigned t = 0; t < threads; ++t)
        order[t] = schedule == 1 ? threads - 1 - t : t;
    for (unsigned left = threads; left > 0;) {
        if (schedule > 1)
            std::shuffle(order.begin(), order.end(), random);
        bool progress = false;
        for (unsigned t : order) {
            Fiber& fiber = fibers[t];
            if (fiber.done || (fiber.waiting && fiber.waiting->round == fiber.since))
                continue;
            fiber.waiting = nullptr;
            resume(fiber);
            if (!failure.empty())
                return;
            progress = true;
            left -= fiber.done;
        }
        if (!progress) {
            const Barrier& b = *std::find_if(fibers.begin(), fibers.end(), [](const Fiber& f) {
                return !f.done;
            })->waiting;
            failure = "deadlock: " + std::to_string(b.arrived) + " of "
                    + std::to_string(b.expected) + " threads wait at " + b.file + ":"
                    + std::to_string(b.line) + "; the others never come";
            return;
        }
    }
}

// Returns the fibers for `threads` threads, ready to serve.
inline std::vector<Fiber>& fibers_for(unsigned threads, bool afresh)
{
    static std::vector<Fiber> fibers;
    if (afresh)
        fibers.clear();
    while (fibers.size() < threads) {
        Fiber fiber;
        fiber.stack = std::make_unique<char[]>(STACK_BYTES);
        fibers.push_back(std::move(fiber));
    }
    // A context may hold pointers into itself: made only once the vector has stopped moving it.
    for (Fiber& fiber : fibers) {
        fiber.started = false;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get();
        fiber.start.uc_stack.ss_size = STACK_BYTES;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, serve, 0);
    }
    return fibers;
}

// Runs a grid. Returns what went wrong, or an empty text.
inline const char* launch(const unsigned* grid, const unsigned* block, std::size_t shared_bytes,
                          unsigned schedule, void (*body)(const void*), const void* arguments)
{
    const std::lock_guard<std::mutex> guard(one_launch);
    static std::vector<Fiber>* fibers = nullptr;
    grid_size = Index{grid[0], grid[1], grid[2]};
    block_size = Index{block[0], block[1], block[2]};
    kernel_body = body;
    kernel_arguments = arguments;
    dynamic_memory.assign(shared_bytes, POISON);
    const unsigned threads = block[0] * block[1] * block[2];
    if (!fibers || fibers->size() < threads || !failure.empty())
        fibers = &fibers_for(threads, !failure.empty());
    failure.clear();

    std::mt19937 random(schedule);
    std::vector<unsigned> order(grid[0] * grid[1] * grid[2]);
    for (unsigned b = 0; b < order.size(); ++b)
        order[b] = b;
    if (schedule == 1)
        std::reverse(order.begin(), order.end());
    else if (schedule > 1)
        std::shuffle(order.begin(), order.end(), random);
    for (unsigned b : order) {
        block_index = Index{b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        prepare_block(*fibers, threads);
        run_block(*fibers, threads, schedule, random);
        if (!failure.empty())
            break;
    }
    return failure.c_str();
}

// --- calling a kernel with an array of pointers to its arguments, as the CUDA driver does ---

// Letters that say what an argument is: small for a scalar, capital for a pointer.
template <typename T>
struct Letter;
template <> struct Letter<long long> { static constexpr char value = 'i'; };
template <> struct Letter<double> { static constexpr char value = 'd'; };
template <> struct Letter<float*> { static constexpr char value = 'F'; };
template <> struct Letter<double*> { static constexpr char value = 'D'; };
template <> struct Letter<long long*> { static constexpr char value = 'I'; };
template <> struct Letter<unsigned*> { static constexpr char value = 'U'; };
// 'H' for 16 bits, else 'I': a record of 64-bit integers.
template <typename T> struct Letter<T*> { static constexpr char value = sizeof(T) == 2 ? 'H' : 'I'; };
template <typename T> struct Letter<const T*> : Letter<T*> {};

template <typename... Arguments>
struct Kernel {
    template <void (*kernel)(Arguments...)>
    static void body(const void* arguments)
    {
        call<kernel>(static_cast<void* const*>(arguments), std::index_sequence_for<Arguments...>{});
    }
    template <void (*kernel)(Arguments...), std::size_t... n>
    static void call(void* const* arguments, std::index_sequence<n...>)
    {
        kernel(*static_cast<Arguments*>(arguments[n])...);
    }
    static const char* signature()
    {
        static const char letters[] = {Letter<Arguments>::value..., 0};
        return letters;
    }
};
template <typename... Arguments>
Kernel<Arguments...> kernel_type(void (*)(Arguments...));

}  // namespace emulator

// The two entry points of a kernel in the shared library.
#define EMULATE(name)                                                                              \
    extern "C" const char* signature_##name()                                                      \
    {                                                                                              \
        return decltype(emulator::kernel_type(name))::signature();                                 \
    }                                                                                              \
    extern "C" const char* launch_##name(const unsigned* grid, const unsigned* block,              \
                                         std::size_t shared_bytes, unsigned schedule,              \
                                         const void* arguments)                                    \
    {                                                                                              \
        return emulator::launch(grid, block, shared_bytes, schedule,                               \
                                decltype(emulator::kernel_type(name))::body<name>, arguments);     \
    }

#define DYNAMIC_SHARED(Number, name) Number* name = emulator::dynamic_shared<Number>()
#define threadIdx (emulator::current->thread)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::block_size)
#define gridDim (emulator::grid_size)
#define __syncthreads() emulator::wait_for_block(__FILE__, __LINE__)
#define __syncwarp() emulator::wait_for_warp(0xFFFFFFFFu, __FILE__, __LINE__)
#define __shfl_sync(mask, value, source)                                                           \
    emulator::shuffle(mask, value, unsigned(source), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes)                                                        \
    emulator::shuffle(mask, value, emulator::current->lane ^ unsigned(lanes), __FILE__, __LINE__)
// A lane beyond the last one keeps its own value.
#define __shfl_down_sync(mask, value, delta)                                                       \
    emulator::shuffle(mask, value,                                                                 \
                      emulator::current->lane + unsigned(delta) < emulator::WARP_SIZE              \
                          ? emulator::current->lane + unsigned(delta)                              \
                          : emulator::current->lane,                                               \
                      __FILE__, __LINE__)

// The distribution function of the normal distribution, which C does not have.
inline float normcdf(float x)
{
    return static_cast<float>(erfc(-static_cast<double>(x) / sqrt(2.0)) / 2);
}
inline double normcdf(double x)
{
    return static_cast<double>(erfcl(-static_cast<long double>(x) / sqrtl(2.0L)) / 2);
}

template <typename T>
T atomicAdd(T* place, T value)
{
    const T before = *place;
    *place = before + value;
    return before;
}
