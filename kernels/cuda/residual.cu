// The end of a residual connection.

// y = a + b; y may be a or b. The (B, O) arrays are flat, with `elements` numbers. A thread for each.
extern "C" __global__ void residual_add(cell* y_bo, const cell* a_bo, const cell* b_bo,
                                        integer elements)
{
    for (integer e = first_column(); e < elements; e += column_stride())
        y_bo[e] = real(a_bo[e]) + real(b_bo[e]);
}
