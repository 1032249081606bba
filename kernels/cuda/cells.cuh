// The type in which activations and their gradients lie in memory: `cell`. It is `real` itself, or
// bfloat16 where products are to run at that precision. Arithmetic is always in `real`; parameters,
// moments, gradients of parameters, statistics and sums always lie in `real`.

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
