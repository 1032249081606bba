// Functions of all kernels: the place of a thread, and sums and maxima over warps and blocks.
//
// Legend: B rows of a batch, I inputs, O outputs, T target columns, P parameters, N rows of the
// data set. A pointer's suffix gives its axes: y_bo is a C-contiguous (B, O) array.
//
// Numbers are `real`. Literals are integers or real(...): a bare 1.0 would make a float kernel
// compute in double. Maxima are written as comparisons, not with fmax, because NaN must survive.

constexpr unsigned ALL_LANES = 0xFFFFFFFFu;

// A launch lays a tile of threads over a (rows, columns) array and moves it over the whole of it:
//   for (integer row = first_row(); row < rows; row += row_stride())
//       for (integer column = first_column(); column < columns; column += column_stride())

__device__ integer first_row() { return integer(blockIdx.y) * blockDim.y + threadIdx.y; }
__device__ integer row_stride() { return integer(gridDim.y) * blockDim.y; }
__device__ integer first_column() { return integer(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ integer column_stride() { return integer(gridDim.x) * blockDim.x; }

// max(a, b) and min(a, b), NaN where either is NaN.
__device__ real larger(real a, real b) { return a >= b || a != a ? a : b; }
__device__ real smaller(real a, real b) { return a <= b || a != a ? a : b; }

// The maximum of nothing: minus infinity, which has no name without a header.
__device__ real lowest() { return log(real(0)); }

// -1, 0 or 1; NaN for NaN.
__device__ real sign(real x) { return x > 0 ? real(1) : x < 0 ? real(-1) : x == 0 ? real(0) : x; }

// Rows are worked on by LANES threads each: a whole warp, or in `tiny.cu` perhaps one alone.
__device__ integer lane() { return LANES == 1 ? 0 : integer(threadIdx.x); }

// The sum of `value` over the lanes of a row, in every one.
template <typename Number, int lanes = LANES>
__device__ Number warp_sum(Number value)
{
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, apart);
    return value;
}

// The largest `value` of a row's lanes, in every one.
__device__ real warp_max(real value)
{
    for (int apart = LANES / 2; apart > 0; apart /= 2)
        value = larger(value, __shfl_xor_sync(ALL_LANES, value, apart));
    return value;
}

// The sum of `value` over the threads of a block that have the same threadIdx.x, in all of them.
// Every thread of the block must call it. `scratch` is shared and has BLOCK places; blockDim.y is a
// power of two.
template <typename Number>
__device__ Number column_sum(Number* scratch, Number value)
{
    const unsigned place = threadIdx.y * blockDim.x + threadIdx.x;
    scratch[place] = value;
    __syncthreads();
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            scratch[place] += scratch[place + half * blockDim.x];
        __syncthreads();
    }
    const Number sum = scratch[threadIdx.x];
    __syncthreads();  // The next sum uses the same places.
    return sum;
}
