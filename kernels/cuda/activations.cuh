// Activation functions of one element and their derivatives: the formulas of
// fastnet/nn/activations.py. Softmax works on rows: see dense.cu.

__device__ real relu(real z) { return larger(z, 0); }
__device__ real relu_backward(real dy, real y) { return dy * real(y > 0); }

__device__ real leaky_relu(real z) { return larger(z, z * real(abi::LEAKY_SLOPE)); }
__device__ real leaky_relu_backward(real dy, real y)
{
    return dy * (y > 0 ? real(1) : real(abi::LEAKY_SLOPE));
}

__device__ real elu(real z) { return larger(z, 0) + expm1(smaller(z, 0)); }
__device__ real elu_backward(real dy, real y) { return dy * (smaller(y, 0) + 1); }

__device__ real selu(real z)
{
    return real(abi::SELU_LAMBDA) * larger(z, 0)
         + real(abi::SELU_LAMBDA * abi::SELU_ALPHA) * expm1(smaller(z, 0));
}
__device__ real selu_backward(real dy, real y)
{
    const real negative = smaller(y, 0) + real(abi::SELU_LAMBDA * abi::SELU_ALPHA);
    return dy * (y > 0 ? real(abi::SELU_LAMBDA) : negative);
}

// The distance of z from 0, no farther out than where the normal density is 0.
__device__ real distance(real z) { return smaller(fabs(z), real(abi::NORMAL_FLAT)); }
// exp(-t^2 / 2) / sqrt(2 pi). The exponential would multiply the rounding of t^2 by t^2 / 2, so what
// rounding took away is a factor.
__device__ real normal_density(real t)
{
    const real square = t * t, rest = fma(t, t, -square);
    return real(abi::NORMAL_SCALE) * exp(-square / 2) * (1 - rest / 2);
}
// z Phi(z) = max(z, 0) - |z| Phi(-|z|): the last part keeps its digits however small it is.
__device__ real gelu(real z)
{
    const real t = distance(z);
    return larger(z, 0) - t * normcdf(-t);
}
__device__ real gelu_backward(real dy, real z)
{
    // Phi(z) + z phi(z) of z = -t, and 1 minus that for z = t.
    const real t = distance(z), below = normcdf(-t) - t * normal_density(t);
    return dy * (z > 0 ? 1 - below : below);
}

// The inner part of GELU in its tanh form.
__device__ real tanh_of_cubic(real z)
{
    return tanh(real(abi::GELU_SCALE) * z * (1 + real(abi::GELU_CUBIC) * z * z));
}
__device__ real gelu_tanh(real z) { return z * (1 + tanh_of_cubic(z)) / 2; }
__device__ real gelu_tanh_backward(real dy, real z)
{
    // (1 + h)/2 * (1 + u (1 - h) c (1 + 3 a u^2)), with h the tanh. Beyond GELU_FLAT it is 0 or 1,
    // and the powers of z could overflow.
    const real flat = real(abi::GELU_FLAT);
    const real u = z > flat ? flat : z < -flat ? -flat : z;
    const real h = tanh_of_cubic(u);
    const real slope = real(abi::GELU_SCALE) * (1 + real(3 * abi::GELU_CUBIC) * u * u);
    return dy * (1 + h) / 2 * (1 + u * slope * (1 - h));
}

// exp(min(z, 0)) / (1 + exp(-|z|)): neither exponential can overflow.
__device__ real sigmoid(real z) { return exp(smaller(z, 0)) / (1 + exp(-fabs(z))); }
__device__ real sigmoid_backward(real dy, real y) { return dy * (y * (1 - y)); }

__device__ real silu(real z) { return z * sigmoid(z); }
__device__ real silu_backward(real dy, real z)
{
    const real s = sigmoid(z);
    return dy * (s * (1 + z * (1 - s)));
}

__device__ real softplus(real z) { return larger(z, 0) + log1p(exp(-fabs(z))); }
__device__ real softplus_backward(real dy, real y) { return dy * -expm1(-y); }

__device__ real mish(real z) { return z * tanh(softplus(z)); }
__device__ real mish_backward(real dy, real z)
{
    // h + z sigma (1 - h^2), with h = tanh(p), p = softplus(z) and sigma = 1 - exp(-p)
    const real p = softplus(z), h = tanh(p);
    return dy * (h + z * expm1(-p) * (h * h - 1));
}

__device__ real tanh_backward(real dy, real y) { return dy * (1 - y * y); }

// y = f(z)
__device__ real activation_forward(integer activation, real z)
{
    switch (activation) {
    case abi::RELU: return relu(z);
    case abi::LEAKY_RELU: return leaky_relu(z);
    case abi::ELU: return elu(z);
    case abi::SELU: return selu(z);
    case abi::GELU: return gelu(z);
    case abi::GELU_TANH: return gelu_tanh(z);
    case abi::SILU: return silu(z);
    case abi::MISH: return mish(z);
    case abi::TANH: return tanh(z);
    case abi::SIGMOID: return sigmoid(z);
    case abi::SOFTPLUS: return softplus(z);
    case abi::EXP: return exp(z);
    default: return z;  // IDENTITY
    }
}

// dz = dy f'(z), from y where that is enough
__device__ real activation_backward(integer activation, real dy, real y, real z)
{
    switch (activation) {
    case abi::RELU: return relu_backward(dy, y);
    case abi::LEAKY_RELU: return leaky_relu_backward(dy, y);
    case abi::ELU: return elu_backward(dy, y);
    case abi::SELU: return selu_backward(dy, y);
    case abi::GELU: return gelu_backward(dy, z);
    case abi::GELU_TANH: return gelu_tanh_backward(dy, z);
    case abi::SILU: return silu_backward(dy, z);
    case abi::MISH: return mish_backward(dy, z);
    case abi::TANH: return tanh_backward(dy, y);
    case abi::SIGMOID: return sigmoid_backward(dy, y);
    case abi::SOFTPLUS: return softplus_backward(dy, y);
    case abi::EXP: return dy * y;
    default: return dy;  // IDENTITY
    }
}
