// Optimizers: one pass over the flat parameters.

// square_c[c] = the sum of g^2 over chunk c of `chunks` equal ones. A block for each chunk. In
// double: the square of a large float would be infinite. Parameters of rate 0 are left out;
// `rates_p` is null where all rates are 1.
extern "C" __global__ void gradient_square_sum(double* square_c, const real* g_p,
                                               const real* rates_p, integer chunks, integer size)
{
    __shared__ double scratch[BLOCK];
    const integer length = (size + chunks - 1) / chunks;
    for (integer c = blockIdx.y; c < chunks; c += gridDim.y) {
        const integer end = (c + 1) * length < size ? (c + 1) * length : size;
        double sum = 0;
        for (integer p = c * length + threadIdx.y; p < end; p += blockDim.y)
            sum += square_that_learns(g_p[p], rate_at(rates_p, p));
        sum = column_sum(scratch, sum);
        if (threadIdx.y == 0)
            square_c[c] = sum;
    }
}

// clip = min(1, clip_norm / |g|), and 1 where the norm is NaN. One block.
extern "C" __global__ void gradient_clip(real* clip, const double* square_c,
                                         const double* constants, integer chunks)
{
    __shared__ double scratch[BLOCK];
    double sum = 0;
    for (integer c = threadIdx.y; c < chunks; c += blockDim.y)
        sum += square_c[c];
    const double norm = sqrt(column_sum(scratch, sum));
    const double limit = constants[abi::CLIP_NORM];
    if (threadIdx.y == 0)
        *clip = norm > limit ? real(limit / norm) : real(1);
}

// Clips the gradient and updates; penalties act on the first n_weights parameters. moments_sp holds
// one row of `size` for each moment; `clip` is null where nothing is clipped. rates_p, unless null,
// has a factor for each parameter's step. cells_p, unless null, gets the new parameters rounded to
// cells. A thread for each parameter.
extern "C" __global__ void optimizer_update(real* w_p, real* moments_sp, cell* cells_p,
                                            const real* g_p, const real* rates_p, const real* clip,
                                            const double* constants, const double* coefficients,
                                            const Clock* clock, integer optimizer,
                                            integer n_weights, integer size)
{
    if (clock->halted)
        return;
    const Step step = make_step(constants, coefficients + clock->row * abi::COEFFICIENTS);
    for (integer p = first_column(); p < size; p += column_stride()) {
        real w = w_p[p];
        const real g = clip ? g_p[p] * *clip : g_p[p];
        parameter_update(optimizer, w, g, moments_sp[p], moments_sp[size + p], p < n_weights,
                         rate_at(rates_p, p), step);
        w_p[p] = w;
        if (cells_p)
            cells_p[p] = w;
    }
}
