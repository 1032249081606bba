// `cell` is the type of activations and their gradients in memory: `real`, or bfloat16 where
// products run at that precision. Arithmetic is always in `real`, and so are parameters, moments,
// gradients of parameters, statistics and sums in memory.

#ifdef CELLS_ARE_BF16
// The upper half of a float. Rounds to nearest, ties to even; NaN stays NaN.
struct cell {
    unsigned short bits;

    cell() = default;
    __device__ cell(float value)
    {
        union { float number; unsigned word; } u;
        u.number = value;
        bits = value != value ? (unsigned short)(0x7FC0u)
                              : (unsigned short)((u.word + 0x7FFFu + ((u.word >> 16) & 1u)) >> 16);
    }
    __device__ operator float() const
    {
        union { unsigned word; float number; } u;
        u.word = unsigned(bits) << 16;
        return u.number;
    }
};
#else
typedef real cell;
#endif
