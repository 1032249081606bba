// Optimizers: how one parameter moves. The formulas are those of fastnet/nn/optimizers.py.

// The constants of an optimizer and the coefficients of a step, rounded once for all parameters.
struct Step {
    real beta1, rest1;  // and 1 - beta1
    real beta2, rest2;
    real epsilon, momentum;
    bool nesterov;
    real l1, l2;
    real rate, scale, rate_gradient;
    real keep;  // 1 - decay
};

// Sets the numbers that change from step to step.
__device__ void set_coefficients(Step& step, const double* coefficients)
{
    step.rate = real(coefficients[abi::RATE]);
    step.scale = real(coefficients[abi::SCALE]);
    step.rate_gradient = real(coefficients[abi::RATE_GRADIENT]);
    step.keep = real(1 - coefficients[abi::DECAY]);
}

__device__ Step make_step(const double* constants, const double* coefficients)
{
    Step step;
    step.beta1 = real(constants[abi::BETA1]);
    step.rest1 = real(1 - constants[abi::BETA1]);
    step.beta2 = real(constants[abi::BETA2]);
    step.rest2 = real(1 - constants[abi::BETA2]);
    step.epsilon = real(constants[abi::EPSILON]);
    step.momentum = real(constants[abi::MOMENTUM]);
    step.nesterov = constants[abi::NESTEROV] != 0;
    step.l1 = real(constants[abi::L1]);
    step.l2 = real(constants[abi::L2]);
    set_coefficients(step, coefficients);
    return step;
}

// Each of these moves one parameter w against its gradient g; m and v are its moments.

__device__ void sgd_update(real& w, real g, real& m, const Step& step)
{
    m = step.momentum * m + g;
    w -= step.rate * (step.nesterov ? g + step.momentum * m : m);
}

__device__ void rmsprop_update(real& w, real g, real& v, const Step& step)
{
    v = step.beta2 * v + step.rest2 * (g * g);
    w -= step.rate * (g / (sqrt(v) + step.epsilon));
}

__device__ void adagrad_update(real& w, real g, real& v, const Step& step)
{
    v += g * g;
    w -= step.rate * (g / (sqrt(v) + step.epsilon));
}

__device__ void adam_update(real& w, real g, real& m, real& v, const Step& step)
{
    m = step.beta1 * m + step.rest1 * g;
    v = step.beta2 * v + step.rest2 * (g * g);
    w -= step.rate * (m / (sqrt(v) * step.scale + step.epsilon));
}

__device__ void nadam_update(real& w, real g, real& m, real& v, const Step& step)
{
    m = step.beta1 * m + step.rest1 * g;
    v = step.beta2 * v + step.rest2 * (g * g);
    w -= (step.rate * m + step.rate_gradient * g) / (sqrt(v) * step.scale + step.epsilon);
}

__device__ void lion_update(real& w, real g, real& m, const Step& step)
{
    const real direction = step.beta1 * m + step.rest1 * g;
    m = step.beta2 * m + step.rest2 * g;
    w -= step.rate * sign(direction);
}

// A pointer to the rate of parameter p; null where all rates are 1.
__device__ const real* rate_at(const real* rates_p, integer p)
{
    return rates_p ? rates_p + p : nullptr;
}

// The share of an element of the gradient in the square of its norm.
__device__ double square_that_learns(real g, const real* rate)
{
    return rate && *rate == 0 ? 0 : double(g) * double(g);
}

// Adds penalties and decay (if `decayed`) to a gradient and updates its parameter. The optimizer
// uses as many of the two moments as it has. `rate`, unless null, is a factor of the step.
__device__ void parameter_update(integer optimizer, real& w, real g, real& first, real& second,
                                 bool decayed, const real* rate, const Step& step)
{
    const real before = w;
    if (decayed) {
        if (step.l2 != 0)
            g += step.l2 * w;
        if (step.l1 != 0)
            g += step.l1 * sign(w);
        w *= step.keep;
    }
    switch (optimizer) {
    case abi::SGD: sgd_update(w, g, first, step); break;
    case abi::RMSPROP: rmsprop_update(w, g, first, step); break;
    case abi::ADAGRAD: adagrad_update(w, g, first, step); break;
    case abi::ADAM: adam_update(w, g, first, second, step); break;
    case abi::NADAM: nadam_update(w, g, first, second, step); break;
    case abi::LION: lion_update(w, g, first, step); break;
    }
    if (rate)
        w = *rate == 0 ? before : before + *rate * (w - before);
}
