// Optimizers: one pass over the flat parameters. The formulas are those of fastnet/optimizers.py.

// The constants of an optimizer and the coefficients of a step, in the precision of the network.
struct Step {
    const double* constants;
    const double* coefficients;

    __device__ real constant(integer name) const { return real(constants[name]); }
    __device__ real rest(integer name) const { return real(1 - constants[name]); }
    __device__ real coefficient(integer name) const { return real(coefficients[name]); }
};

// Each of these moves one parameter w against its gradient g; m and v are its moments.

__device__ void sgd_update(real& w, real g, real& m, const Step& step)
{
    const real momentum = step.constant(abi::MOMENTUM);
    m = momentum * m + g;
    const real direction = step.constants[abi::NESTEROV] != 0 ? g + momentum * m : m;
    w -= step.coefficient(abi::RATE) * direction;
}

__device__ void rmsprop_update(real& w, real g, real& v, const Step& step)
{
    v = step.constant(abi::BETA2) * v + step.rest(abi::BETA2) * (g * g);
    w -= step.coefficient(abi::RATE) * (g / (sqrt(v) + step.constant(abi::EPSILON)));
}

__device__ void adagrad_update(real& w, real g, real& v, const Step& step)
{
    v += g * g;
    w -= step.coefficient(abi::RATE) * (g / (sqrt(v) + step.constant(abi::EPSILON)));
}

__device__ void adam_moments(real g, real& m, real& v, const Step& step)
{
    m = step.constant(abi::BETA1) * m + step.rest(abi::BETA1) * g;
    v = step.constant(abi::BETA2) * v + step.rest(abi::BETA2) * (g * g);
}

__device__ real adam_denominator(real v, const Step& step)
{
    return sqrt(v) * step.coefficient(abi::SCALE) + step.constant(abi::EPSILON);
}

__device__ void adam_update(real& w, real g, real& m, real& v, const Step& step)
{
    adam_moments(g, m, v, step);
    w -= step.coefficient(abi::RATE) * (m / adam_denominator(v, step));
}

__device__ void nadam_update(real& w, real g, real& m, real& v, const Step& step)
{
    adam_moments(g, m, v, step);
    const real direction =
        step.coefficient(abi::RATE) * m + step.coefficient(abi::RATE_GRADIENT) * g;
    w -= direction / adam_denominator(v, step);
}

__device__ void lion_update(real& w, real g, real& m, const Step& step)
{
    const real direction = step.constant(abi::BETA1) * m + step.rest(abi::BETA1) * g;
    m = step.constant(abi::BETA2) * m + step.rest(abi::BETA2) * g;
    w -= step.coefficient(abi::RATE) * sign(direction);
}

// square_c[c] = the sum of g^2 over chunk c of `chunks` equal ones. A block for each chunk. In
// double: the square of a large float would be infinite.
extern "C" __global__ void gradient_square_sum(double* square_c, const real* g_p, integer chunks,
                                               integer size)
{
    __shared__ double scratch[BLOCK];
    const integer length = (size + chunks - 1) / chunks;
    for (integer c = blockIdx.y; c < chunks; c += gridDim.y) {
        const integer end = (c + 1) * length < size ? (c + 1) * length : size;
        double sum = 0;
        for (integer p = c * length + threadIdx.y; p < end; p += blockDim.y)
            sum += double(g_p[p]) * double(g_p[p]);
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

// Clips the gradient, adds penalties and decay to the first `decayed` parameters, and updates.
// moments_sp holds one row of `size` for each moment; `clip` is null where nothing is clipped. A
// thread for each parameter.
extern "C" __global__ void optimizer_update(real* w_p, real* moments_sp, const real* g_p,
                                            const real* clip, const double* constants,
                                            const double* coefficients, const Clock* clock,
                                            integer optimizer, integer decayed, integer size)
{
    if (clock->halted)
        return;
    const Step step = {constants, coefficients + clock->row * abi::COEFFICIENTS};
    const real l1 = step.constant(abi::L1), l2 = step.constant(abi::L2);
    const real keep = real(1 - step.coefficients[abi::DECAY]);
    for (integer p = first_column(); p < size; p += column_stride()) {
        real w = w_p[p];
        real g = clip ? g_p[p] * *clip : g_p[p];
        if (p < decayed) {
            if (l2 != 0)
                g += l2 * w;
            if (l1 != 0)
                g += l1 * sign(w);
            w *= keep;
        }
        real& first = moments_sp[p];
        real& second = moments_sp[size + p];
        switch (optimizer) {
        case abi::SGD: sgd_update(w, g, first, step); break;
        case abi::RMSPROP: rmsprop_update(w, g, first, step); break;
        case abi::ADAGRAD: adagrad_update(w, g, first, step); break;
        case abi::ADAM: adam_update(w, g, first, second, step); break;
        case abi::NADAM: nadam_update(w, g, first, second, step); break;
        case abi::LION: lion_update(w, g, first, step); break;
        }
        w_p[p] = w;
    }
}
