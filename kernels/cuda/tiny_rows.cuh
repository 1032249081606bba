// The way of the rows from device memory to the shared memory of `tiny.cu`, in the order of an epoch.

__device__ int thread() { return int(threadIdx.y * WARP + threadIdx.x); }

__device__ constexpr int odd(int width) { return width | 1; }

// Numbers of a row as they are gathered: inputs, targets, label, weight.
constexpr int RECORD = tiny::INPUTS + tiny::TARGETS + tiny::LABELLED + tiny::WEIGHTED;
constexpr int HELD = (tiny::BATCH * RECORD + tiny::THREADS - 1) / tiny::THREADS;

struct Data {
    const real* x_ni;
    const integer* label_n;
    const real* target_nt;
    const real* weight_n;
    const unsigned* order_n;
    integer count;
    int batch;  // rows in a batch
};

// Brings batches from the data set to shared memory. It looks up the rows of a batch two steps
// before they are needed and fetches them one step before, so that no step waits for device memory.
struct Pipeline {
    integer row[HELD];  // of the data set; -1: none
    real value[HELD];

    // Looks up the row numbers of the batch at `start`. Places beyond the batch stay empty.
    __device__ void look_up(const Data& data, integer start)
    {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const int e = thread() + h * tiny::THREADS;
            const integer n = start + e / RECORD;
            row[h] = -1;
            if (e < data.batch * RECORD && n < data.count)
                row[h] = data.order_n ? integer(data.order_n[n]) : n;
        }
    }

    // Fetches the numbers of these rows.
    __device__ void fetch(const Data& data)
    {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const int c = (thread() + h * tiny::THREADS) % RECORD;
            const integer n = row[h];
            if (n < 0)
                continue;
            if (c < tiny::INPUTS)
                value[h] = data.x_ni[n * tiny::INPUTS + c];
            else if (c < tiny::INPUTS + tiny::TARGETS)
                value[h] = data.target_nt[n * tiny::TARGETS + c - tiny::INPUTS];
            else if (tiny::LABELLED && c == tiny::INPUTS + tiny::TARGETS)
                value[h] = real(data.label_n[n]);
            else
                value[h] = data.weight_n[n];
        }
    }

    // Writes the fetched numbers to shared memory.
    __device__ void store(real* records, const Data& data) const
    {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const int e = thread() + h * tiny::THREADS;
            if (e < data.batch * RECORD)
                records[e / RECORD * odd(RECORD) + e % RECORD] = value[h];
        }
    }
};

// Writes the member's order of an epoch, as kernel `permutation` does, by all threads.
__device__ void write_order(const Member& me, integer epoch)
{
    const FeistelKeys keys =
        feistel_keys((unsigned long long)(me.seed), unsigned(epoch), unsigned(abi::SHUFFLE));
    for (integer n = thread(); n < me.count; n += tiny::THREADS)
        me.order_n[n] = shuffled(unsigned(n), me.count, unsigned(me.bits), keys);
}
