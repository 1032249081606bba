// Partners of other kernels for large arrays, which are read and written once, in large pieces.

// Neighbouring cells that one access of 16 bytes moves.
constexpr int RUN = 16 / int(sizeof(cell));
struct alignas(16) Run {
    cell cells[RUN];
};

// Loads a run, in one access if `whole`, else the first `count` cells one by one.
__device__ Run load_run(const cell* from, bool whole, integer count)
{
    if (whole)
        return *reinterpret_cast<const Run*>(from);
    Run run;
    for (integer k = 0; k < RUN; ++k)
        run.cells[k] = k < count ? from[k] : cell(real(0));
    return run;
}

__device__ void store_run(cell* to, const Run& run, bool whole, integer count)
{
    if (whole)
        *reinterpret_cast<Run*>(to) = run;
    else
        for (integer k = 0; k < count && k < RUN; ++k)
            to[k] = run.cells[k];
}

__device__ bool is_aligned(const cell* values)
{
    return (unsigned long long)(values) % 16 == 0;
}

// As dense_backward_epilogue: dz = dy f'(z) in place, and db = the column sums of dz. A thread works
// on RUN columns. The order of the sums does not depend on whether one access moves a run.
extern "C" __global__ void dense_backward_runs(cell* d_bo, real* db_o, const cell* y_bo,
                                               const cell* z_bo, integer activation, integer rows,
                                               integer outputs)
{
    __shared__ real scratch[BLOCK];
    const bool whole =
        outputs % RUN == 0 && is_aligned(d_bo) && is_aligned(y_bo) && is_aligned(z_bo);
    for (integer tile = 0; tile < outputs; tile += column_stride() * RUN) {
        const integer o = tile + first_column() * RUN, count = outputs - o;
        real sum[RUN] = {};
        if (count > 0)
            for (integer b = threadIdx.y; b < rows; b += blockDim.y) {
                const integer at = b * outputs + o;
                Run d = load_run(d_bo + at, whole, count);
                const Run y = load_run(y_bo + at, whole, count);
                const Run z = load_run(z_bo + at, whole, count);
#pragma unroll
                for (int k = 0; k < RUN; ++k) {
                    const real dz =
                        activation_backward(activation, d.cells[k], y.cells[k], z.cells[k]);
                    d.cells[k] = dz;
                    sum[k] += dz;
                }
                store_run(d_bo + at, d, whole, count);
            }
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            const real total = column_sum(scratch, sum[k]);
            if (k < count && threadIdx.y == 0)
                db_o[o + k] = total;
        }
    }
}

constexpr int WARPS = BLOCK / WARP;

// The sum of `value` over the threads of a block of one column, in all of them.
__device__ real block_sum(real* scratch, real value)
{
    value = warp_sum(value);
    scratch[threadIdx.y / WARP] = value;
    __syncthreads();
    real sum = 0;
    for (int w = 0; w < WARPS; ++w)
        sum += scratch[w];
    __syncthreads();  // The next sum uses the same places.
    return sum;
}

// The largest `value`; NaN where there is one.
__device__ real block_max(real* scratch, real value)
{
    value = warp_max(value);
    scratch[threadIdx.y / WARP] = value;
    __syncthreads();
    real highest = scratch[0];
    for (int w = 1; w < WARPS; ++w)
        highest = larger(highest, scratch[w]);
    __syncthreads();
    return highest;
}

// The place of the best candidate.
__device__ integer block_best(Best* scratch, Best best)
{
    best = warp_best(best);
    scratch[threadIdx.y / WARP] = best;
    __syncthreads();
    best = scratch[0];
    for (int w = 1; w < WARPS; ++w)
        if (scratch[w].before(best))
            best = scratch[w];
    __syncthreads();
    return best.place;
}

// As loss_head, for cross-entropy with many outputs, at most WIDE: a block for each row, which
// reads the row once and keeps it in registers. A block of one column.
extern "C" __global__ void loss_head_wide(cell* d_bo, real* loss_b, real* score_b, cell* y_bo,
                                          const cell* z_bo, const integer* label_b,
                                          const real* target_bt, const real* weight_b,
                                          const double* total, const double* constants,
                                          integer loss, integer softmax, integer rows,
                                          integer outputs, integer targets)
{
    constexpr int EACH = WIDE / BLOCK;
    __shared__ real scratch[WARPS];
    __shared__ Best best_scratch[WARPS];
    const double weights = total ? *total : double(rows);
    const real share = weights > 0 ? real(1 / weights) : real(0);
    const real keep = real(1 - constants[0]), base = real(constants[0] / double(outputs));
    for (integer b = blockIdx.y; b < rows; b += gridDim.y) {
        // u = z - max(z), and y.
        real u[EACH], y[EACH];
        real highest = lowest();
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const integer o = threadIdx.y + e * BLOCK;
            u[e] = o < outputs ? real(z_bo[b * outputs + o]) : lowest();
            highest = larger(highest, u[e]);
        }
        highest = block_max(scratch, highest);
        real sum = 0, rounded = 0;
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const integer o = threadIdx.y + e * BLOCK;
            if (o >= outputs)
                continue;
            u[e] -= highest;
            const real power = exp(u[e]);
            sum += power;
            y[e] = softmax ? real(cell(power)) : real(y_bo[b * outputs + o]);
            rounded += y[e];
        }
        sum = block_sum(scratch, sum);
        if (softmax)
            rounded = block_sum(scratch, rounded);
        // The gradient, the product of targets and u, and the most probable class.
        const real weight = weight_b ? weight_b[b] : real(1);
        real product = 0;
        Best answer = {lowest(), outputs}, wanted = {lowest(), outputs};
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const integer o = threadIdx.y + e * BLOCK;
            if (o >= outputs)
                continue;
            const integer at = b * outputs + o;
            if (softmax) {
                y[e] = real(cell(y[e] / rounded));
                y_bo[at] = y[e];
            }
            const real target = target_bt ? target_bt[at] : real(o == label_b[b]);
            const real s = target * keep + base;
            product += s * u[e];
            if (d_bo)
                d_bo[at] = (y[e] - s) * weight * share;
            const Best candidate = {y[e], o}, goal = {target, o};
            answer = candidate.before(answer) ? candidate : answer;
            wanted = goal.before(wanted) ? goal : wanted;
        }
        product = block_sum(scratch, product);
        const integer place = block_best(best_scratch, answer);
        const integer right = target_bt ? block_best(best_scratch, wanted) : label_b[b];
        if (threadIdx.y == 0) {
            loss_b[b] = (log(sum) - product) * weight;
            score_b[b] = real(place == right) * weight;
        }
    }
}
