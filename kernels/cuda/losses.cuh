// Loss, score and gradient of one row, by the formulas of fastnet/nn/losses.py. LANES threads work
// on a row.

// GaussianNLL treats smaller variances as 1e-6.
constexpr double LOG_VARIANCE_FLOOR = -13.815510557964274;
constexpr double LOG_TWO_PI = 1.8378770664093453;

// One row of the batch.
struct Row {
    cell* d_o;  // null where no gradient is wanted
    const cell* y_o;
    const cell* z_o;
    const real* target_t;  // null where there are labels
    integer label;
    integer outputs;
    integer targets;
    const double* constants;
    real weight;  // of the row
    real share;   // 1 / the sum of the weights of the batch

    __device__ void set_gradient(integer o, real gradient) const
    {
        if (d_o)
            d_o[o] = gradient * weight * share;
    }
};

// log(sum(exp(u))) - sum(s u), with u = z - max(z) and s the smoothed target.
__device__ real cross_entropy_row(const Row& r)
{
    const double smoothing = r.constants[0];
    real highest = lowest();
    for (integer o = lane(); o < r.outputs; o += LANES)
        highest = larger(highest, r.z_o[o]);
    highest = warp_max(highest);
    real sum = 0, product = 0;
    for (integer o = lane(); o < r.outputs; o += LANES) {
        const real target = r.target_t ? r.target_t[o] : real(o == r.label);
        const real s = target * real(1 - smoothing) + real(smoothing / double(r.outputs));
        const real u = r.z_o[o] - highest;
        sum += exp(u);
        product += s * u;
        r.set_gradient(o, r.y_o[o] - s);
    }
    return log(warp_sum(sum)) - warp_sum(product);
}

// For T targets, T means and then T logarithms of variances v:
// (log(2 pi v) + (mean - t)^2 / v) / 2.
__device__ real gaussian_nll_row(const Row& r)
{
    const real count = real(r.targets);
    real sum = 0;
    for (integer t = lane(); t < r.targets; t += LANES) {
        const real log_variance = larger(r.y_o[r.targets + t], real(LOG_VARIANCE_FLOOR));
        const real precision = exp(-log_variance);
        const real error = r.y_o[t] - r.target_t[t];
        const real square = error * error * precision;
        r.set_gradient(t, error * precision / count);
        r.set_gradient(r.targets + t, (1 - square) / (2 * count));
        sum += square + log_variance;
    }
    return (warp_sum(sum) / count + real(LOG_TWO_PI)) / 2;
}

// The other losses are means over outputs. Each function returns one element's loss and writes its
// derivative, with respect to z for binary_cross_entropy and poisson, else to y.

__device__ real binary_cross_entropy(real& d, real y, real z, real target, double smoothing)
{
    const real s = target * real(1 - smoothing) + real(smoothing / 2);
    d = y - s;
    return larger(z, 0) - s * z + log1p(exp(-fabs(z)));
}

__device__ real mse(real& d, real y, real target)
{
    const real e = y - target;
    d = 2 * e;
    return e * e;
}

__device__ real mae(real& d, real y, real target)
{
    d = sign(y - target);
    return fabs(y - target);
}

__device__ real huber(real& d, real y, real target, real delta)
{
    // With c = clip(e, -delta, delta) both branches are c (e - c / 2).
    const real e = y - target;
    d = e < -delta ? -delta : e > delta ? delta : e;
    return d * (e - d / 2);
}

__device__ real poisson(real& d, real y, real z, real target)
{
    d = y - target;
    return y - target * z;
}

__device__ real quantile(real& d, real y, real target, real q)
{
    // dl/de is q where e > 0, q - 1 where e < 0 and 0 where e = 0.
    const real e = target - y;
    const real s = sign(e);
    d = -(s + (2 * q - 1) * fabs(s)) / 2;
    return -e * d;
}

__device__ real mean_over_outputs(integer loss, const Row& r)
{
    const real count = real(r.outputs);
    real sum = 0;
    for (integer o = lane(); o < r.outputs; o += LANES) {
        const real y = r.y_o[o], z = r.z_o[o];
        const real target = r.target_t[o % r.targets];  // several quantiles share a target
        real d = 0;
        switch (loss) {
        case abi::BINARY_CROSS_ENTROPY:
            sum += binary_cross_entropy(d, y, z, target, r.constants[0]);
            break;
        case abi::MSE: sum += mse(d, y, target); break;
        case abi::MAE: sum += mae(d, y, target); break;
        case abi::HUBER: sum += huber(d, y, target, real(r.constants[0])); break;
        case abi::POISSON: sum += poisson(d, y, z, target); break;
        case abi::QUANTILE:
            sum += quantile(d, y, target, real(r.constants[o / r.targets]));
            break;
        }
        r.set_gradient(o, d / count);
    }
    return warp_sum(sum) / count;
}

// The index of the largest number: the first of equals, and NaN before all others.
struct Best {
    real value;
    integer place;

    __device__ bool before(const Best& other) const
    {
        const bool nan = value != value, other_nan = other.value != other.value;
        if (nan != other_nan)
            return nan;
        return value > other.value || ((nan || value == other.value) && place < other.place);
    }
};

// The best of a row's lanes, in every one.
__device__ Best warp_best(Best best)
{
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
        Best other;
        other.value = __shfl_xor_sync(ALL_LANES, best.value, apart);
        other.place = __shfl_xor_sync(ALL_LANES, best.place, apart);
        if (other.before(best))
            best = other;
    }
    return best;
}

template <typename Number>
__device__ integer argmax(const Number* values_o, integer outputs)
{
    Best best = {lowest(), outputs};
    for (integer o = lane(); o < outputs; o += LANES) {
        const Best candidate = {values_o[o], o};
        if (candidate.before(best))
            best = candidate;
    }
    return warp_best(best).place;
}

// The row's score without its weight: 1 if the class is right, the fraction of right outputs, or
// the mean squared error.
__device__ real score(integer loss, const Row& r)
{
    if (loss == abi::QUANTILE)
        return 0;
    if (loss == abi::CROSS_ENTROPY) {
        const integer answer = argmax(r.y_o, r.outputs);
        return real(answer == (r.target_t ? argmax(r.target_t, r.outputs) : r.label));
    }
    real sum = 0;
    for (integer t = lane(); t < r.targets; t += LANES) {
        if (loss == abi::BINARY_CROSS_ENTROPY) {
            sum += real((r.target_t[t] - real(0.5) > 0) == (r.z_o[t] > 0));
        } else {
            const real e = r.y_o[t] - r.target_t[t];
            sum += e * e;
        }
    }
    return warp_sum(sum) / real(r.targets);
}

// The row's loss; its gradient is written to r.d_o.
__device__ real row_loss(integer loss, const Row& r)
{
    if (loss == abi::CROSS_ENTROPY)
        return cross_entropy_row(r);
    if (loss == abi::GAUSSIAN_NLL)
        return gaussian_nll_row(r);
    return mean_over_outputs(loss, r);
}
