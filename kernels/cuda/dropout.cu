// Dropout: the masks of random.dropout_mask, bit for bit.

// mask = 0 or `scale`, y = x mask. The (B, O) arrays are flat, with `elements` numbers. A thread
// for each four elements, which use the four words of one Philox block: a word below `threshold`
// keeps its unit.
extern "C" __global__ void dropout_forward(cell* y_bo, cell* mask_bo, const cell* x_bo,
                                           const Clock* clock, integer stream, integer threshold,
                                           double scale, integer elements)
{
    const unsigned step = unsigned(clock->step);
    const unsigned long long seed = (unsigned long long)(clock->seed);
    for (integer block = first_column(); 4 * block < elements; block += column_stride()) {
        const Words words =
            philox(unsigned(block), step, unsigned(stream), unsigned(abi::DROP), seed);
        for (int lane = 0; lane < 4; ++lane) {
            const integer e = 4 * block + lane;
            if (e < elements) {
                const real mask = integer(words.lane[lane]) < threshold ? real(scale) : real(0);
                mask_bo[e] = mask;
                y_bo[e] = x_bo[e] * mask;
            }
        }
    }
}

// dx = dy mask. A thread for each element.
extern "C" __global__ void dropout_backward(cell* dx_bo, const cell* d_bo, const cell* mask_bo,
                                            integer elements)
{
    for (integer e = first_column(); e < elements; e += column_stride())
        dx_bo[e] = d_bo[e] * mask_bo[e];
}
